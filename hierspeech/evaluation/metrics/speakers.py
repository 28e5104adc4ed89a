"""Whose voice it is: speaker embeddings of Resemblyzer (offline), WavLM (transformers) and ECAPA-TDNN (speechbrain)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, require
from hierspeech.evaluation.metrics.pretrained import check_hub, load_pretrained
from hierspeech.evaluation.metrics.verification import SAMPLE_RATE, Embed, Similarity, similarity_and_eer

RESEMBLYZER_INSTALL = 'pip install resemblyzer "setuptools<81" (a C compiler is needed; without one: pip install webrtcvad-wheels librosa && pip install --no-deps resemblyzer)'
TRANSFORMERS_INSTALL = 'pip install "transformers>=4.44"'
SPEECHBRAIN_INSTALL = "pip install speechbrain torchaudio"
WAVLM = "microsoft/wavlm-base-plus-sv"
ECAPA = "speechbrain/spkrec-ecapa-voxceleb"


def resemblyzer(model: str | None, device: str) -> Embed:
    """GE2E embeddings [256]; silence is cut out and loudness evened first, as the package does."""
    package = require("resemblyzer", RESEMBLYZER_INSTALL)
    encoder = package.VoiceEncoder(
        device, verbose=False, **({} if model is None else {"weights_fpath": model})
    )

    def embed(wav: np.ndarray) -> np.ndarray:
        cut = package.preprocess_wav(np.array(wav), SAMPLE_RATE)
        if len(cut) == 0:
            raise NotMeasured("no speech is found in it")
        return encoder.embed_utterance(cut)

    return embed


def wavlm(model: str, device: str) -> Embed:
    """x-vectors [512] of a WavLM (or wav2vec2, UniSpeech-SAT: any AutoModelForAudioXVector) checkpoint."""
    import torch

    transformers = require("transformers", TRANSFORMERS_INSTALL)
    extractor = load_pretrained(transformers.AutoFeatureExtractor, model)
    network = load_pretrained(transformers.AutoModelForAudioXVector, model).to(torch.device(device)).eval()

    def embed(wav: np.ndarray) -> np.ndarray:
        inputs = extractor(wav, sampling_rate=SAMPLE_RATE, return_tensors="pt").to(network.device)
        with torch.inference_mode():
            return network(inputs.input_values).embeddings[0].float().cpu().numpy()

    return embed


def ecapa(model: str, device: str) -> Embed:
    """ECAPA-TDNN embeddings [192] by speechbrain."""
    import torch

    inference = require("speechbrain.inference.speaker", SPEECHBRAIN_INSTALL)
    if not Path(model).is_dir():
        check_hub(model)
    encoder = inference.EncoderClassifier.from_hparams(source=model, run_opts={"device": device})

    def embed(wav: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return encoder.encode_batch(torch.from_numpy(np.array(wav))[None])[0, 0].cpu().numpy()

    return embed


def _columns(name: str, title: str) -> tuple[Column, ...]:
    return (
        Column(f"sim_{name}", f"Similarity {title}", "cosine", "higher", 3),
        Column(f"nearest_{name}", f"Own voice nearest, {title}", "%", "higher", 1, spread=False),
        Column(f"eer_{name}", f"Speaker EER {title}", "%", "lower", 2),
    )


MEANING = (
    "Cosine of the speaker embeddings of the wav and its reference; how often its own voice is nearer than all other voices of "
    "the list; and the equal error rate of telling own from other references."
)

RESEMBLYZER = Metric(
    MetricCard(
        name="sim_resemblyzer",
        meaning=MEANING,
        scale="Similarity -1 to 1; on LibriSpeech test-other two recordings of one speaker score 0.88, of two 0.52. The nearest rate "
        "and the EER depend on how many voices the list has.",
        source="Wan et al. 2018 (GE2E), as Resemblyzer implements it",
        model="Resemblyzer's own, in the package",
        licence="Apache-2.0 (package and weights)",
        install=RESEMBLYZER_INSTALL,
        columns=_columns("resemblyzer", "Resemblyzer"),
    ),
    needs=("reference",),
    make=lambda model, device: Similarity(resemblyzer(model, device), "resemblyzer"),
    summarise=similarity_and_eer,
    packages=("resemblyzer",),
    whole_list=True,
)

WAVLM_SV = Metric(
    MetricCard(
        name="sim_wavlm",
        meaning=MEANING,
        scale="Similarity -1 to 1; its makers' threshold for one speaker is 0.86. The SIM of Seed-TTS-eval comes from another checkpoint of "
        "the family (WavLM-large with an ECAPA head, published as a .pth for UniSpeech's code): its figures are lower and must "
        "not be compared with these.",
        source="Chen et al. 2022 (WavLM), x-vector head",
        model=WAVLM,
        licence="weights CC BY-SA 3.0 (UniSpeech); transformers Apache-2.0",
        install=TRANSFORMERS_INSTALL,
        columns=_columns("wavlm", "WavLM-SV"),
    ),
    needs=("reference",),
    make=lambda model, device: Similarity(wavlm(model or WAVLM, device), "wavlm"),
    summarise=similarity_and_eer,
    packages=("transformers",),
    downloads=True,
    whole_list=True,
)

ECAPA_TDNN = Metric(
    MetricCard(
        name="sim_ecapa",
        meaning=MEANING,
        scale="Similarity -1 to 1; speechbrain takes two recordings for one speaker from 0.25 on.",
        source="Desplanques et al. 2020 (ECAPA-TDNN), trained on VoxCeleb 1 and 2 by speechbrain",
        model=ECAPA,
        licence="Apache-2.0 (package and weights)",
        install=SPEECHBRAIN_INSTALL,
        columns=_columns("ecapa", "ECAPA"),
    ),
    needs=("reference",),
    make=lambda model, device: Similarity(ecapa(model or ECAPA, device), "ecapa"),
    summarise=similarity_and_eer,
    packages=("speechbrain", "torchaudio"),
    downloads=True,
    whole_list=True,
)
