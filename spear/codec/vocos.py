"""Vocos on EnCodec codes: code vectors, ConvNeXt blocks and one inverse STFT (Siuzdak 2023; spec section 4.2). Our own implementation.

Layer norms are shifted and scaled by a row of their own for each bandwidth (1.5, 3, 6, 12 kbit/s: 2, 4, 8, 16 codebooks). `from_public` reads the weights
that the package `vocos` publishes (`charactr/vocos-encodec-24khz`: `pytorch_model.bin`, MIT); its names and ours:

    feature_extractor.codebook_weights [16 * 1024, 128]        codebooks
    backbone.embed.{weight, bias}                              embed
    backbone.norm.{scale, shift}.weight [4, 384]               norm.{scale, shift}.weight
    backbone.convnext.N.dwconv.{weight, bias}                  blocks.N.depthwise
    backbone.convnext.N.norm.{scale, shift}.weight             blocks.N.norm.{scale, shift}.weight
    backbone.convnext.N.pwconv1.{weight, bias}                 blocks.N.expand
    backbone.convnext.N.pwconv2.{weight, bias}                 blocks.N.contract
    backbone.convnext.N.gamma                                  blocks.N.scale
    backbone.final_layer_norm.{weight, bias}                   final_norm
    head.out.{weight, bias}                                    out
    head.istft.window, feature_extractor.encodec.*             left out: made here, or the codec's
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.checkpoint import Pretrained, load_folded
from speech.hub import download, is_hub_id
from speech.modules.istft import overlap_add

PUBLIC = "charactr/vocos-encodec-24khz"
FILE = "pytorch_model.bin"
BANDWIDTH_IDS = {2: 0, 4: 1, 8: 2, 16: 3}  # number of codebooks -> row of the layer norms
MAX_MAGNITUDE = 100.0
_RENAMED = [  # in this order
    (r"^feature_extractor\.codebook_weights$", "codebooks"),
    (r"^backbone\.final_layer_norm\.", "final_norm."),
    (r"^backbone\.convnext\.(\d+)\.", r"blocks.\1."),
    (r"^backbone\.", ""),
    (r"^head\.out\.", "out."),
    (r"\.dwconv\.", ".depthwise."),
    (r"\.pwconv1\.", ".expand."),
    (r"\.pwconv2\.", ".contract."),
    (r"\.gamma$", ".scale"),
]
_LEFT_OUT = re.compile(r"^(head\.istft\.window$|feature_extractor\.encodec\.)")


@dataclass
class VocosConfig:
    """Sizes; the defaults are those of the public weights."""

    dim: int = 128  # of a code's vector
    width: int = 384
    hidden: int = 1152
    layers: int = 8
    n_codebooks: int = 16
    codebook_size: int = 1024
    bandwidths: int = 4
    n_fft: int = 1280
    hop_length: int = 320


class Vocos(nn.Module, Pretrained):
    """codes [B, Q, N] -> wav [B, 1, N * hop]; Q is 2, 4, 8 or 16."""

    Config = VocosConfig

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.codebooks = nn.Parameter(torch.randn(config.n_codebooks * config.codebook_size, config.dim))
        self.embed = nn.Conv1d(config.dim, config.width, 7, padding=3)
        self.norm = BandwidthNorm(config.width, config.bandwidths)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.out = nn.Linear(config.width, config.n_fft + 2)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    @classmethod
    def from_public(cls, source: str | Path | None = None) -> Vocos:
        """Load what the package `vocos` publishes, or what `save_pretrained` wrote, from a folder or hub id (None = the public one).

        Raises:
            ValueError: no such weights, or tensors missing, left over or misshapen.
        """
        name = PUBLIC if source is None else str(source)
        if not Path(name).is_dir() and not is_hub_id(name):
            raise ValueError(f"there is no folder {name} to load Vocos from")
        folder = Path(name) if Path(name).is_dir() else download(name, (FILE,))
        if (folder / "model.safetensors").is_file():
            return cls.from_pretrained(folder)
        try:
            tensors = torch.load(folder / FILE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"no Vocos weights could be read from {folder / FILE}: {str(error):.200}"
            ) from error
        return cls.from_public_tensors(tensors, str(folder / FILE))

    @classmethod
    def from_public_tensors(cls, tensors: Mapping[str, Tensor], name: str = "the state dict") -> Vocos:
        """A state dict with the public names -> model in eval mode, whose sizes are those of the tensors."""
        ours = {renamed(key): value.float() for key, value in tensors.items() if not _LEFT_OUT.match(key)}
        try:
            levels = ours["codebooks"].shape[0] // 1024
            width, dim, _ = ours["embed.weight"].shape
            config = VocosConfig(
                dim=dim,
                width=width,
                hidden=len(ours["blocks.0.expand.weight"]),
                layers=sum(re.fullmatch(r"blocks\.\d+\.scale", key) is not None for key in ours),
                n_codebooks=levels,
                bandwidths=len(ours["norm.scale.weight"]),
                n_fft=len(ours["out.weight"]) - 2,
                hop_length=(len(ours["out.weight"]) - 2) // 4,
            )
        except KeyError as error:
            raise ValueError(f"{name} holds no Vocos on EnCodec codes: {error.args[0]} is missing") from None
        model = cls(config).eval()
        load_folded(model, ours, name)
        return model

    def forward(self, codes: Tensor) -> Tensor:
        """codes long [B, Q, N] -> wav [B, 1, N * hop].

        Raises:
            ValueError: a number of codebooks that has no bandwidth.
        """
        levels, size = codes.shape[1], self.config.codebook_size
        row = BANDWIDTH_IDS.get(levels)
        if row is None or row >= self.config.bandwidths or levels > self.config.n_codebooks:
            known = [q for q, r in BANDWIDTH_IDS.items() if r < self.config.bandwidths]
            raise ValueError(f"the Vocos head decodes {known} codebooks, got {levels}")
        places = codes + torch.arange(levels, device=codes.device)[:, None] * size
        x = F.embedding(places, self.codebooks).sum(1).transpose(1, 2)  # [B, D, N]
        x = self.norm(self.embed(x).transpose(1, 2), row)  # [B, N, C]
        for block in self.blocks:
            x = block(x, row)
        magnitude, angle = self.out(self.final_norm(x)).transpose(1, 2).float().chunk(2, dim=1)
        spec = torch.polar(magnitude.exp().clamp(max=MAX_MAGNITUDE), angle)
        return overlap_add(spec, self.window, self.config.hop_length)[:, None]


class BandwidthNorm(nn.Module):
    """Layer norm whose scale and shift are rows of tables."""

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Embedding(rows, width), nn.Embedding(rows, width)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, row: int) -> Tensor:
        """x [B, N, C] -> [B, N, C]."""
        return F.layer_norm(x, x.shape[-1:], self.scale.weight[row], self.shift.weight[row], eps=1e-6)


class Block(nn.Module):
    """Depthwise convolution, layer norm of the bandwidth, two-layer perceptron, scaled residual."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        width = config.width
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = BandwidthNorm(width, config.bandwidths)
        self.expand = nn.Linear(width, config.hidden)
        self.contract = nn.Linear(config.hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 1 / config.layers))

    def forward(self, x: Tensor, row: int) -> Tensor:
        """x [B, N, C] -> [B, N, C]."""
        h = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2), row)
        return x + self.scale * self.contract(F.gelu(self.expand(h)))


def renamed(key: str) -> str:
    """A public name -> ours."""
    for pattern, name in _RENAMED:
        key = re.sub(pattern, name, key)
    return key
