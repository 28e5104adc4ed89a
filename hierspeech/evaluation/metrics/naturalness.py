"""How natural or clean it sounds to networks that were trained on listeners' marks: DNSMOS and UTMOS. No reference needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, Row, require

SAMPLE_RATE = 16000
DNSMOS_INSTALL = "pip install speechmos onnxruntime librosa requests"
UTMOS_HUB = "tarepan/SpeechMOS:v1.2.0"  # a re-implementation without fairseq, checked against the authors' by its maker
UTMOS_INSTALL = f"pip install torchaudio; weights and code come by torch.hub from github.com/{UTMOS_HUB.split(':')[0]} at first use"


class DNSMOS:
    """Microsoft's P.835 networks as speechmos packages them."""

    def __init__(self):
        import torch

        package, runtime = require("speechmos.dnsmos", DNSMOS_INSTALL), require("onnxruntime", DNSMOS_INSTALL)
        models = Path(package.__file__).parent / "dnsmos_models"
        paths = [str(models / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
        self.judge = package.DNSMOS(*paths)
        options = (
            runtime.SessionOptions()
        )  # as many threads as torch has: more than cores are free halve the speed
        options.intra_op_num_threads = torch.get_num_threads()
        self.judge.onnx_sess, self.judge.p808_onnx_sess = (
            runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in paths
        )

    def measure(self, item: Item) -> Row:
        """Marks of the signal, the background and overall (P.835), and of the whole (P.808)."""
        wav = item.load("wav", SAMPLE_RATE)[0]
        peak = float(np.abs(wav).max())
        if peak == 0:
            raise NotMeasured("the sound is silent, which the networks were not made for")
        marks = self.judge(
            wav / peak, SAMPLE_RATE, False
        )  # the level is no quality, so it is the same for all
        return {
            "dnsmos": float(marks["ovrl_mos"]),
            "dnsmos_signal": float(marks["sig_mos"]),
            "dnsmos_background": float(marks["bak_mos"]),
            "dnsmos_p808": float(marks["p808_mos"]),
        }


class UTMOS:
    """UTMOS22 strong."""

    def __init__(self, model: str | None, device: str):
        import torch

        place = model or UTMOS_HUB
        local = Path(place).is_dir()
        try:
            network = torch.hub.load(
                place,
                "utmos22_strong",
                source="local" if local else "github",
                trust_repo=True,  # asked for by name, at a fixed release
                **({} if local else {"skip_validation": True, "verbose": False}),
            )
        except (
            OSError,
            RuntimeError,
            ImportError,
        ) as error:  # no network, or what the code there needs is absent
            raise NotMeasured(f"{place} cannot be loaded ({error}): {UTMOS_INSTALL}") from error
        self.device, self.network = torch.device(device), network.to(device).eval()

    def measure(self, item: Item) -> Row:
        """One mark."""
        import torch

        wav = torch.from_numpy(np.array(item.load("wav", SAMPLE_RATE)[0])).to(self.device)
        with torch.inference_mode():
            return {"utmos": float(self.network(wav[None], SAMPLE_RATE))}


DNSMOS_METRIC = Metric(
    MetricCard(
        name="dnsmos",
        meaning="What listeners would say of speech in a call: signal, background and overall (ITU-T P.835), and P.808. The peak "
        "is set to 1 first.",
        scale="1 bad to 5 excellent; clean recordings have an overall mark of 3 to 3.5. Made for noise suppression: it hears hiss "
        "and artefacts, not odd intonation.",
        source="Reddy et al. 2022 (DNSMOS P.835)",
        model="sig_bak_ovr.onnx and model_v8.onnx, in the package speechmos",
        licence="MIT (speechmos, the models are in it)",
        install=DNSMOS_INSTALL,
        columns=(
            Column("dnsmos", "DNSMOS overall", "MOS", "higher"),
            Column("dnsmos_signal", "DNSMOS signal", "MOS", "higher"),
            Column("dnsmos_background", "DNSMOS background", "MOS", "higher"),
            Column("dnsmos_p808", "DNSMOS P.808", "MOS", "higher"),
        ),
    ),
    needs=(),
    make=lambda model, device: DNSMOS(),
    packages=("speechmos", "onnxruntime"),
)

UTMOS_METRIC = Metric(
    MetricCard(
        name="utmos",
        meaning="What listeners of the VoiceMOS Challenge 2022 would say of the naturalness of synthetic speech.",
        scale="1 bad to 5 excellent; LibriTTS recordings score 4.0 to 4.1. Trained on English and some Chinese; it can be "
        "pleased by over-smooth voices.",
        source="Saeki et al. 2022 (UTMOS, the strong learner)",
        model=UTMOS_HUB,
        licence="MIT",
        install=UTMOS_INSTALL,
        columns=(Column("utmos", "UTMOS", "MOS", "higher"),),
    ),
    needs=(),
    make=UTMOS,
    downloads=True,
)
