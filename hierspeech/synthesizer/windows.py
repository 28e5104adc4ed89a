"""The decoder in windows: acoustic latent -> wav, piece by piece, the same samples as in one go.

A waveform generator sees a bounded stretch of its input around each output sample. A window that is given that much more on
either side (its halo, which is cut off again) therefore ends up with the samples of the whole; at the two ends of the signal the
window ends there too, and the layers pad it as they pad the whole. Sources run over the whole signal first: they cost little, and
a harmonic source adds up its phase from the first sample on. B batch, N frames at 50 Hz, T samples.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from hierspeech.synthesizer.generator import AMPGeneratorConfig
from hierspeech.synthesizer.istft import ISTFTGeneratorConfig
from hierspeech.synthesizer.model import HierSpeech, HierSpeechConfig
from speech.modules.receptive_field import ACTIVATION_REACH, amp_reach, conv_reach, upsampling_reach


def halo_frames(config: HierSpeechConfig) -> int:
    """Frames of latent and source features that the generator needs on either side of those it is to speak.

    An articulated latent needs `filter_frames` besides.
    """
    if config.amp is not None:
        return _amp_halo(config.amp)
    carrier = None if config.harmonic is None else config.harmonic.carrier
    return _istft_halo(config.istft, config.audio.hop_length, 0 if carrier is None else carrier.reach)


def _amp_halo(config: AMPGeneratorConfig) -> int:
    reach = conv_reach(7) + ACTIVATION_REACH
    for kernel_size, rate in zip(config.upsample_kernels[::-1], config.upsample_rates[::-1], strict=True):
        reach += amp_reach(config.kernel_sizes, config.dilations)
        source = reach + conv_reach(7)  # `source_proj`, at the rate of this stage's output
        reach = upsampling_reach(reach, kernel_size, rate)
    # The first stage is the last one here: the latent passes `conv_pre`, source features also `source_down`.
    down = sum(conv_reach(3, dilation) for dilation in (1, 2, 4))
    return max(reach + max(conv_reach(7), down), -(-source // config.upsample_rates[0]))


def _istft_halo(config: ISTFTGeneratorConfig, frame_samples: int, behind: int) -> int:
    """`behind`: samples of its wave that what comes after the generator sees on either side."""
    overlap = (config.n_fft - config.hop_length) // 2 + behind
    reach = -(-overlap // config.hop_length)  # frames of the inverse STFT
    reach += config.layers * conv_reach(config.kernel_size) + conv_reach(3)
    return -(-reach // (frame_samples // config.hop_length))


def filter_frames(model: HierSpeech, z: Tensor) -> int:
    """Frames that the filter of an articulated latent z [B, C, N] needs on either side; 0 for others."""
    equalizer = model.equalizer
    if equalizer is None or z.shape[1] <= model.config.latent + equalizer.config.bands:
        return 0
    return -(-equalizer.filter.reach // model.config.audio.hop_length)


@torch.inference_mode()
def decode_windows(
    model: HierSpeech, z: Tensor, style: Tensor, log_f0: Tensor, sizes: Iterable[int]
) -> Iterator[Tensor]:
    """What `model.decode` gives, in consecutive windows.

    Args:
        model: the synthesizer.
        z: acoustic latent [B, latent, N].
        style: [B, style.out].
        log_f0: [B, 1, 4N].
        sizes: frames of each window, at least 1; where they run out, the rest is one window. Only as many are taken as
            are needed. A window that sees the end of the signal in its halo goes on to the end, which costs no more.

    Yields:
        wav [B, 1, hop_length * frames of the window].
    """
    frames, hop = z.shape[-1], model.config.audio.hop_length
    halo = halo_frames(model.config) + filter_frames(model, z)
    features, rate = None, 1
    if model.source is not None:
        features = model.excite(z, style, log_f0)[0]
        rate = features.shape[-1] // frames
    sizes, start = iter(sizes), 0
    while start < frames:
        stop = start + next(sizes, frames)
        if stop + halo >= frames:
            stop = frames
        left, right = max(0, start - halo), min(frames, stop + halo)
        part = None if features is None else features[..., left * rate : right * rate]
        wav = model.sound(z[..., left:right], part, style)
        yield wav[..., (start - left) * hop : (stop - left) * hop]
        start = stop
