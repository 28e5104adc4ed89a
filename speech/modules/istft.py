"""Overlap-add of an inverse STFT whose frames lie between the hops: the end of the generators that make spectra."""

import torch
from torch import Tensor
from torch.nn import functional as F


def overlap_add(spec: Tensor, window: Tensor, hop_length: int, mask: Tensor | None = None) -> Tensor:
    """Inverse STFT whose frame k is centred on sample hop * (k + 1/2): [B, F, K] complex -> [B, hop * K].

    Args:
        window: [n_fft].
        mask: [B, 1, K] (1 = valid): the last valid frames are scaled as if nothing followed them.
    """
    n_fft, frames = len(window), spec.shape[-1]
    with torch.autocast(spec.device.type, enabled=False):
        pieces = torch.fft.irfft(spec, n=n_fft, dim=1) * window[:, None]  # [B, n_fft, K]
        length = (frames - 1) * hop_length + n_fft
        fold = {"output_size": (1, length), "kernel_size": (1, n_fft), "stride": (1, hop_length)}
        wav = F.fold(pieces, **fold)[:, 0, 0]
        windows = window.square()[None, :, None].expand(1, n_fft, frames)
        envelope = F.fold(windows if mask is None else windows * mask, **fold)[:, 0, 0]
        pad = (n_fft - hop_length) // 2
        return wav[:, pad : length - pad] / envelope[:, pad : length - pad].clamp(min=1e-4)
