"""Tiny random voices of both families, and recordings made by us, for the tests of pipelines and scripts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from denoiser.model import Denoiser, DenoiserConfig
from hierspeech.synthesizer.carrier import CarrierConfig
from hierspeech.synthesizer.encoders import SemanticEncoderConfig
from hierspeech.synthesizer.equalizer import EqualizerConfig
from hierspeech.synthesizer.generator import AMPGeneratorConfig
from hierspeech.synthesizer.harmonic import HarmonicSourceConfig
from hierspeech.synthesizer.istft import ISTFTGeneratorConfig
from hierspeech.synthesizer.model import FlowConfig, HierSpeech, HierSpeechConfig
from hierspeech.synthesizer.posterior import PosteriorConfig as WavePosteriorConfig
from hierspeech.synthesizer.prosody import ProsodyConfig
from hierspeech.synthesizer.source import SourceConfig
from speech.modules.style import StyleEncoderConfig
from speech.modules.style_pooling import StylePoolingConfig
from speech.semantic.encoder import SemanticSpec
from speech.semantic.phonetic import PhoneticEncoder, PhoneticEncoderConfig
from speech.spectrogram import AudioConfig
from speechsr.model import SpeechSR, SpeechSRConfig
from ttv.aligned import AlignedTTV, AlignedTTVConfig
from ttv.model import TTV, DurationConfig, TTVConfig
from ttv.model import FlowConfig as TTVFlowConfig
from ttv.pitch import PitchConfig
from ttv.semantic import PosteriorConfig, SemanticDecoderConfig
from ttv.text_encoder import TextEncoderConfig

AUDIO = AudioConfig(n_mels=16)
SEMANTIC = SemanticSpec("phonetic", 1, 12, 50)
STYLE = StyleEncoderConfig(n_mels=16, hidden=8, out=6)


DENOISER = DenoiserConfig(channels=8, dense_depth=2, n_blocks=1, heads=2, ffn_expansion=2, conv_kernel=7)


def build_voice(
    folder: Path, family: str, speechsr: bool = False, denoiser: bool = False, carrier: bool = True, **changes
) -> Path:
    """Writes a voice with random weights; family "lite" (AlignedTTV, iSTFT with or without carrier) or "official" (TTV, AMP); returns the folder."""
    torch.manual_seed(0)
    if family == "lite":
        _lite(folder, CarrierConfig() if carrier else None)
    else:
        _official(folder)
    encoder = PhoneticEncoder(PhoneticEncoderConfig(dim=SEMANTIC.dim, width=16, layers=1))
    encoder.save_pretrained(folder / "phonetic")
    values = {
        "format": 1,
        "name": "tiny",
        "ttv": "ttv",
        "synthesizer": "synthesizer",
        "semantic_encoder": "phonetic",
    }
    if speechsr:
        for rate in (24000, 48000):
            model = SpeechSR(
                SpeechSRConfig(scale=rate / 16000, channels=4, kernel_sizes=[3, 5], dilations=[1, 3])
            )
            model.save_pretrained(folder / f"speechsr-{rate}")
        values["speechsr"] = {"24000": "speechsr-24000", "48000": "speechsr-48000"}
    if denoiser:
        Denoiser(DENOISER).save_pretrained(folder / "denoiser")
        values["denoiser"] = "denoiser"
    (folder / "voice.json").write_text(json.dumps(values | changes))
    return folder


def _lite(folder: Path, carrier: CarrierConfig | None) -> None:
    style = StylePoolingConfig(n_mels=16, width=8, layers=1, out=6)
    ttv = AlignedTTVConfig(
        AUDIO,
        SEMANTIC,
        style,
        width=16,
        encoder_layers=1,
        duration_layers=1,
        decoder_layers=1,
        pitch_layers=1,
    )
    plain = AlignedTTV(ttv)
    with torch.random.fork_rng():  # all else has the weights of before there was a melody
        model = AlignedTTV(replace(ttv, melody_width=4))
    model.load_state_dict(plain.state_dict(), strict=False)
    model.duration_head.bias.data += 1.5  # an untrained model would hurry
    model.save_pretrained(folder / "ttv")
    synthesizer = HierSpeechConfig(
        audio=AUDIO,
        semantic=SEMANTIC,
        style=STYLE,
        latent=8,
        encoder=SemanticEncoderConfig(hidden=8, n_layers=1),
        semantic_posterior=False,
        posterior=None,
        flow=FlowConfig(n_flows=0),
        prosody=None,
        source=None,
        harmonic=HarmonicSourceConfig(channels=8, carrier=carrier),
        amp=None,
        istft=ISTFTGeneratorConfig(width=16, layers=1),
        equalizer=EqualizerConfig(bands=4),
    )
    model = HierSpeech(synthesizer)
    model.equalizer.weight.normal_()
    model.save_pretrained(folder / "synthesizer")


def _official(folder: Path) -> None:
    ttv = TTVConfig(
        audio=AUDIO,
        semantic=SEMANTIC,
        style=STYLE,
        hidden=16,
        text=TextEncoderConfig(filter_channels=16, heads=2, layers=1, kernel_size=3),
        posterior=PosteriorConfig(layers=1),
        flow=TTVFlowConfig(heads=2, n_flows=1, n_blocks=1, mlp_ratio=1),
        decoder=SemanticDecoderConfig(hidden=16, layers=1),
        pitch=PitchConfig(hidden=16),
        duration=DurationConfig(n_flows=2),
    )
    TTV(ttv).save_pretrained(folder / "ttv")
    synthesizer = HierSpeechConfig(
        audio=AUDIO,
        semantic=SEMANTIC,
        style=STYLE,
        latent=8,
        encoder=SemanticEncoderConfig(hidden=8, n_layers=1),
        posterior=WavePosteriorConfig(
            hidden=8, n_layers=1, wave_channels=[2, 2, 4, 4, 8], kernel_sizes=[3], dilations=[1]
        ),
        flow=FlowConfig(n_flows=1, n_blocks=1, mlp_ratio=1),
        prosody=ProsodyConfig(n_mels=4, hidden=8, filter_channels=8, n_layers=1),
        source=SourceConfig(hidden=16, kernel_sizes=[3]),
        amp=AMPGeneratorConfig(hidden=64, kernel_sizes=[3], dilations=[1]),
    )
    HierSpeech(synthesizer).save_pretrained(folder / "synthesizer")


def recording(seconds: float = 2.0, f0: float = 120.0, sample_rate: int = 16000) -> np.ndarray:
    """A voice-like sound: a slowly moving pitch f0 in Hz, decaying harmonics, syllables, a little noise -> wav [T]."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * np.cumsum(f0 * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / sample_rate
    wav = sum(np.sin(k * phase) / k for k in range(1, 11))
    wav = wav * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)) + 0.01 * np.random.default_rng(0).standard_normal(
        len(time)
    )
    return (0.1 * wav).astype(np.float32)
