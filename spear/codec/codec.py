"""Codecs: the one contract they keep, and the table of those there are.

A codec is an `nn.Module` that turns a waveform into codes at a steady rate and codes into a waveform:

    codec.spec                                             CodecSpec; models store it and refuse another
    codec.encode(wav [B, 1, T], n_codebooks=None)  ->  codes long [B, Q, N],  N = ceil(T / hop), coarsest codebook first
    codec.decode(codes [B, Q', N])                 ->  wav [B, 1, N * hop],   any Q' <= Q that it was trained with
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass
class CodecSpec:
    """What codes a model works on; models of different specs do not fit together.

    Args:
        name: key of CODECS.
        sample_rate: Hz of the waveform.
        rate_hz: frames of codes a second.
        n_codebooks: levels there are; a model may use the first of them only.
        codebook_size: codes a level.
        version: counts the trainings of a codec of our own: codes of two do not fit together.
    """

    name: str = "compact"
    sample_rate: int = 16000
    rate_hz: int = 50
    n_codebooks: int = 8
    codebook_size: int = 256
    version: int = 1

    @property
    def hop_length(self) -> int:
        """Samples a frame."""
        return self.sample_rate // self.rate_hz


Loader = Callable[["str | Path | None", "str | torch.device"], "nn.Module"]


def _compact(source: str | Path | None, device: str | torch.device) -> nn.Module:
    from spear.codec.model import CompactCodec

    if source is None:
        raise ValueError("the compact codec has no public weights of its own: name the folder it lies in")
    return CompactCodec.from_pretrained(source, device=device).eval()


def _encodec(source: str | Path | None, device: str | torch.device) -> nn.Module:
    from spear.codec.encodec import EncodecCodec

    return EncodecCodec.from_pretrained(source, device=device)


def _encodec_vocos(source: str | Path | None, device: str | torch.device) -> nn.Module:
    from spear.codec.encodec import EncodecCodec

    inside = Path(source or "") / "vocos"  # both sets of weights in one folder
    vocos = inside if source is not None and inside.is_dir() else None
    return EncodecCodec.from_pretrained(source, head="vocos", vocos=vocos, device=device)


CODECS: dict[str, Loader] = {
    "compact": _compact,
    "encodec-24khz": _encodec,
    "encodec-24khz-vocos": _encodec_vocos,  # the same codes
}
"""Name -> loader (folder or hub id or None for the usual place, device) -> codec."""


def load_codec(name: str, source: str | Path | None = None, device: str | torch.device = "cpu") -> nn.Module:
    """The codec of that name, frozen and in eval mode.

    Args:
        name: key of CODECS, or a folder of a `CompactCodec`.
        source: folder or hub id; None = the usual place of that name.
    Raises:
        ValueError: unknown name or no such weights.
    """
    if name not in CODECS and source is None and Path(name).is_dir():
        name, source = "compact", name
    if name not in CODECS:
        raise ValueError(
            f"unknown codec {name!r}: expected {', '.join(CODECS)} or the folder of a compact codec"
        )
    return CODECS[name](source, device).requires_grad_(False)


def check_codes(codes: Tensor, spec: CodecSpec) -> Tensor:
    """Refuse codes that a codec of this spec does not have; returns them.

    Raises:
        ValueError: another shape than [B, 1..Q, N], or codes out of range.
    """
    if codes.dim() != 3 or not 1 <= codes.shape[1] <= spec.n_codebooks or not codes.shape[-1]:
        raise ValueError(
            f"expected codes [B, 1 to {spec.n_codebooks}, N] of the codec {spec.name}, got {list(codes.shape)}"
        )
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= spec.codebook_size:
        wrong = low if low < 0 else high
        raise ValueError(f"code {wrong}: expected 0 to {spec.codebook_size - 1} of the codec {spec.name}")
    return codes
