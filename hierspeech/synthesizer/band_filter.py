"""Band filter: gains that change with time, on a wave rather than on a generator's spectrum (ours, not the paper's).

The frames of a generator's spectrum overlap and need not agree; what disagrees cancels in the overlap-add, and no longer does once
neighbouring frames get different gains. The STFT of the wave that came out agrees with itself, so gains of every 10 ms are heard
there without the noise that they make in the generator (docs/lite.md, experiment 36). There is nothing to train.

Shapes: B batch, K bands, J gains in time, H samples to each, F bins, T = H * J samples.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.modules.istft import overlap_add


class BandFilter(nn.Module):
    """Multiplies the STFT of waves by gains of bands, and makes waves of it again."""

    def __init__(self, bins: Tensor, hop_length: int, limit: float) -> None:
        """bins: weights of the bands in each bin [F, K], each row of sum 1. limit: ln of power, the most that a bin gains or loses."""
        super().__init__()
        n_fft = 2 * (len(bins) - 1)
        if hop_length % 2 or n_fft < 2 * hop_length:
            raise ValueError(
                f"a filter with an n_fft of {n_fft}: expected an even hop of at most half of it, got {hop_length}"
            )
        self.hop_length, self.limit = hop_length, limit
        self.register_buffer("bins", bins, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    @property
    def reach(self) -> int:
        """Samples on either side of a stretch of whole hops that what becomes of it depends on."""
        half = len(self.window) // 2 - 1  # of a frame; the first sample of a Hann window is 0
        return half // self.hop_length * self.hop_length + half

    def forward(self, wav: Tensor, bands: Tensor, mask: Tensor | None = None) -> Tensor:
        """What waves become.

        Args:
            wav: [B, H * J], 0 in padding.
            bands: ln of power that each band gains [B, K, J]; the j-th for the frame around sample H * j, as in a centred STFT.
            mask: [B, J] bool, True = valid; None if all is.
        Returns: [B, H * J], 0 in padding.
        """
        # J + 1 frames, the last one around the end, with the last gain
        gains = F.pad(bands.float(), (0, 1), mode="replicate")
        framed = None
        if mask is not None:
            framed = F.pad(mask, (1, 0), value=True)  # the frame behind the last valid one is heard, too
            last = mask.sum(1, keepdim=True).clamp(min=1) - 1
            place = torch.arange(gains.shape[-1], device=wav.device)[None].minimum(last)
            gains = gains.gather(2, place[:, None].expand(-1, gains.shape[1], -1))
        change = torch.einsum("fk,bkj->bfj", self.bins, gains).clamp(-self.limit, self.limit) / 2
        # overlap_add centres frames between the hops: half a hop of silence before and behind
        half, n_fft = self.hop_length // 2, len(self.window)
        beside = half + (n_fft - self.hop_length) // 2
        frames = F.pad(wav.float(), (beside, beside)).unfold(-1, n_fft, self.hop_length)  # [B, J + 1, n_fft]
        spec = torch.fft.rfft(frames * self.window).transpose(1, 2)
        if framed is not None:
            spec = spec * framed[:, None]
        made = overlap_add(
            spec * change.exp(), self.window, self.hop_length, None if framed is None else framed[:, None]
        )
        made = made[:, half:-half]
        if mask is not None:
            made = made * mask.repeat_interleave(self.hop_length, 1)
        return made.to(wav.dtype)
