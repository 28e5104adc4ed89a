"""The published components: which keys their files have, and which of our models they become."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from torch import nn

from hierspeech.official import denoiser, discriminators, speechsr, synthesizer, ttv


@dataclass(frozen=True)
class Component:
    """One kind of published checkpoint.

    `keys` is its entry in keys.json.gz; `model`, `config` and `rename` are described in `hierspeech.official`.
    """

    keys: str
    model: type[nn.Module]
    config: Callable[[], Any]
    rename: Callable[[str], str]

    def shapes(self) -> dict[str, list[int]]:
        """Official key -> shape of every tensor in the file."""
        return _all_shapes()[self.keys]


# What `convert` offers: the models that synthesis needs.
CONVERTIBLE = {
    "synthesizer": Component(
        "hierspeechpp_synthesizer", synthesizer.MODEL, synthesizer.config, synthesizer.rename
    ),
    "ttv": Component("ttv_v1", ttv.MODEL, ttv.config, ttv.rename),
    "speechsr-24k": Component("speechsr24k", speechsr.MODEL, speechsr.config_24k, speechsr.rename),
    "speechsr-48k": Component("speechsr48k", speechsr.MODEL, speechsr.config_48k, speechsr.rename),
    "denoiser": Component("denoiser_mpsenet", denoiser.MODEL, denoiser.config, denoiser.rename),
}

# What `load_official` reads: also the discriminators, which only training needs.
COMPONENTS = CONVERTIBLE | {
    "discriminator-16k": Component(
        "synthesizer_discriminator", discriminators.MODEL, discriminators.config, discriminators.rename
    ),
    "discriminator-24k": Component(
        "speechsr24k_discriminator", discriminators.MODEL, discriminators.config, discriminators.rename
    ),
    "discriminator-48k": Component(
        "speechsr48k_discriminator", discriminators.MODEL, discriminators.config_48k, discriminators.rename
    ),
}


@cache
def _all_shapes() -> dict[str, dict[str, list[int]]]:
    data = files("hierspeech.official").joinpath("keys.json.gz").read_bytes()
    return json.loads(gzip.decompress(data))
