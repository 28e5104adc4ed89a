"""The published components at a hundredth of their size: every key of the real files, shapes of a few channels.

`shrink(monkeypatch)` makes the importer expect these instead of the published sizes, so that what it does with whole files
is tested in a second. `tiny_state` fills such a file, `build_download` lays files out as users have them.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from official_fill import fill

from hierspeech.official import components
from hierspeech.official.components import CONVERTIBLE
from hierspeech.official.convert import is_constant
from hierspeech.official.published_config import EXPECTED
from hierspeech.official.training_files import trainable_name
from hierspeech.synthesizer.encoders import SemanticEncoderConfig
from hierspeech.synthesizer.generator import AMPGeneratorConfig
from hierspeech.synthesizer.model import FlowConfig, HierSpeechConfig
from hierspeech.synthesizer.posterior import PosteriorConfig
from hierspeech.synthesizer.prosody import ProsodyConfig
from hierspeech.synthesizer.source import SourceConfig
from speech.modules.discriminators import DiscriminatorConfig
from speech.modules.style import StyleEncoderConfig
from speech.semantic.encoder import SemanticSpec
from ttv import model as ttv
from ttv.pitch import PitchConfig
from ttv.semantic import SemanticDecoderConfig
from ttv.text_encoder import TextEncoderConfig

SEMANTIC = SemanticSpec("mms-300m", 7, 24, 50)
STYLE = StyleEncoderConfig(hidden=8, out=6)


def synthesizer() -> HierSpeechConfig:
    return HierSpeechConfig(
        semantic=SEMANTIC,
        style=STYLE,
        latent=4,
        encoder=SemanticEncoderConfig(hidden=4),
        posterior=PosteriorConfig(hidden=4, wave_channels=[2, 2, 2, 2, 4]),
        flow=FlowConfig(mlp_ratio=1),
        prosody=ProsodyConfig(hidden=4, filter_channels=4),
        source=SourceConfig(hidden=8),
        amp=AMPGeneratorConfig(hidden=64),
    )


def text_to_vec() -> ttv.TTVConfig:
    return ttv.TTVConfig(
        semantic=SEMANTIC,
        style=STYLE,
        hidden=8,
        text=TextEncoderConfig(filter_channels=8),
        flow=ttv.FlowConfig(mlp_ratio=1),
        decoder=SemanticDecoderConfig(hidden=8),
        pitch=PitchConfig(hidden=8),
    )


def discriminator() -> DiscriminatorConfig:
    return DiscriminatorConfig([256, 128, 64, 32, 16], 2, period_channels=[2, 2, 2, 2, 2])


def discriminator_48k() -> DiscriminatorConfig:
    return DiscriminatorConfig([512, 256, 128, 64, 32, 16], 2, period_channels=[2, 2, 2, 2, 2])


CONFIGS = {
    "synthesizer": synthesizer,
    "ttv": text_to_vec,
    "discriminator-16k": discriminator,
    "discriminator-24k": discriminator,
    "discriminator-48k": discriminator_48k,
}


def shrink(monkeypatch) -> None:
    """Let every large component be tiny for one test; SpeechSR and the denoiser are small as they are."""
    shapes = components._all_shapes() | _tiny_shapes()
    for name, config in CONFIGS.items():
        for table in (components.COMPONENTS, components.CONVERTIBLE):
            if name in table:
                monkeypatch.setitem(table, name, replace(table[name], config=config))
    monkeypatch.setattr(components, "_all_shapes", lambda: shapes)


@cache
def _tiny_shapes() -> dict[str, dict[str, list[int]]]:
    """Entry of keys.json.gz -> its tiny shapes."""
    parts = [replace(components.COMPONENTS[name], config=config) for name, config in CONFIGS.items()]
    return {part.keys: _shapes(part) for part in parts}


def _shapes(part: components.Component) -> dict[str, list[int]]:
    """The official keys, with the shapes that our model of `part.config()` has under them."""
    with torch.device("meta"):
        ours = {key: list(tensor.shape) for key, tensor in part.model(part.config()).state_dict().items()}
    shapes, sizes = {}, iter(getattr(part.config(), "stft_sizes", ()))
    for key, published in part.shapes().items():
        if is_constant(key):
            shapes[key] = [next(sizes)] if key.endswith("window") else published
        else:
            shape = ours[trainable_name(part.rename, key)]
            shapes[key] = [1, *shape] if key.endswith((".emb_rel_k", ".emb_rel_v")) else shape
    return shapes


def tiny_state(component: str) -> dict[str, torch.Tensor]:
    """A filled state dict of `component` in official names."""
    return {key: fill(key, shape) for key, shape in components.COMPONENTS[component].shapes().items()}


PLACES = {
    "synthesizer": "logs/hierspeechpp_eng_kor/mine_ckpt.pth",
    "ttv": "logs/ttv_libritts_v1/mine_ckpt.pth",
    "speechsr-24k": "speechsr24k/G_1.pth",
    "speechsr-48k": "speechsr48k/G_2.pth",
    "denoiser": "denoiser/g_mine",
}


def build_download(folder: Path, parts=None) -> Path:
    """A download folder with a file for each of `parts` (default: all that can be converted), and their config.json."""
    for component in parts or CONVERTIBLE:
        path = folder / PLACES[component]
        path.parent.mkdir(parents=True)
        state = tiny_state(component)
        if component.startswith("speechsr"):
            state = {"model": state, "iteration": 1, "optimizer": {}, "learning_rate": 1e-4}
        elif component == "denoiser":
            state = {"generator": state}
        torch.save(state, path)
        write_config(component, path.parent)
    return folder


def write_config(component: str, folder: Path, **changes) -> None:
    """A config.json with the published values, training settings and values without effect; `block__key=value` changes one."""
    values = {"train": {"seed": 1234}, "model": {"n_heads": 99, "resblock": "9"}, "data": {"top_db": 20}}
    for block, keys in EXPECTED[component].items():
        (values.setdefault(block, {}) if block else values).update(keys)
    for name, value in changes.items():
        block, key = name.split("__")
        (values[block] if block else values)[key] = value
    (folder / "config.json").write_text(json.dumps(values))
