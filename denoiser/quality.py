"""How good denoised speech is, in figures: what validation reports and what the metric discriminator learns to predict.

T samples, B batch. Nothing here is differentiated.
"""

import numpy as np
import torch
from torch import Tensor

from speech.spectrogram import AudioConfig, LinearSpectrogram, mel_filterbank

N_BANDS = 25  # as many critical bands as Hu and Loizou take


def si_sdr_db(wav: Tensor, clean: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019) of wav [B, T] against clean [B, T] -> dB [B]."""
    wav, clean = wav - wav.mean(-1, keepdim=True), clean - clean.mean(-1, keepdim=True)
    scale = (wav * clean).sum(-1, keepdim=True) / clean.square().sum(-1, keepdim=True).clamp(min=1e-9)
    target = scale * clean
    return 10 * torch.log10(
        target.square().sum(-1).clamp(min=1e-9) / (wav - target).square().sum(-1).clamp(min=1e-9)
    )


def log_spectral_distance_db(wav: Tensor, clean: Tensor, sample_rate: int) -> Tensor:
    """Root mean square over frequency of the level difference, mean over frames: [B, T] twice -> dB [B].

    Levels more than 60 dB under the loudest of the clean piece count as equal: nobody hears them.
    """
    spectrogram = LinearSpectrogram(_audio(sample_rate), power=2.0).to(wav.device)
    power, reference = spectrogram(wav), spectrogram(clean)  # [B, F, N]
    floor = reference.amax(dim=(1, 2), keepdim=True).clamp(min=1e-9) * 1e-6
    difference = 10 * (torch.log10(power + floor) - torch.log10(reference + floor))
    return difference.square().mean(1).sqrt().mean(-1)


def segmental_snr_score(wav: Tensor, clean: Tensor, sample_rate: int) -> Tensor:
    """Frequency-weighted segmental signal-to-noise ratio of wav [B, T] against clean [B, T] -> [B] in 0 to 1.

    The default teacher of the metric discriminator. Of the measures that need no model of hearing, it follows human
    ratings of denoised speech best, about as well as PESQ (Hu and Loizou 2008, Evaluation of objective quality
    measures for speech enhancement: 0.85 and 0.89 with overall quality; SDR-like ones lie far below), and it is some
    lines of array arithmetic for a whole batch. Per 25 ms frame and mel band, the ratio in dB of the clean magnitude
    to the difference of magnitudes, limited to -10 to 35, weighted with the clean magnitude ** 0.2; frames without
    speech (45 dB under the loudest) do not count.
    """
    audio = _audio(sample_rate)
    spectrogram, bank = LinearSpectrogram(audio).to(wav.device), mel_filterbank(audio).to(wav.device)
    made, reference = bank.T @ spectrogram(wav), bank.T @ spectrogram(clean)  # [B, bands, N]
    noise = (made - reference).square().clamp(min=1e-14)
    ratio_db = (10 * torch.log10(reference.square().clamp(min=1e-10) / noise)).clamp(-10.0, 35.0)
    weight = reference.clamp(min=1e-10) ** 0.2
    frames = (ratio_db * weight).sum(1) / weight.sum(1)  # [B, N]
    power = reference.square().sum(1)
    speech = power >= power.amax(-1, keepdim=True) * 10**-4.5
    return (((frames * speech).sum(-1) / speech.sum(-1)) + 10.0) / 45.0


def pesq_score(wav: Tensor, clean: Tensor, sample_rate: int) -> Tensor:
    """Wide-band PESQ as MetricGAN and MP-SENet use it, (PESQ - 1) / 3.5 -> [B] in 0 to 1; NaN where it finds no speech.

    Needs the package `pesq`, which compiles C code whose licence is ITU's.
    """
    from pesq import PesqError, pesq

    scores = []
    for degraded, reference in zip(wav.cpu().numpy(), clean.cpu().numpy(), strict=True):
        level = max(np.abs(degraded).max(), np.abs(reference).max(), 1e-9)
        score = pesq(sample_rate, reference / level, degraded / level, "wb", on_error=PesqError.RETURN_VALUES)
        scores.append((score - 1) / 3.5 if score > 0 else float("nan"))
    return torch.tensor(scores, dtype=torch.float32, device=wav.device)


# name in `recipe.metric` -> f(wav [B, T], clean [B, T], sample_rate) -> [B], 1 = indistinguishable from clean
METRICS = {"segmental_snr": segmental_snr_score, "pesq": pesq_score}


def check_metric(name: str) -> None:
    """Refuse a metric that is not known or not installed, before training starts."""
    if name not in METRICS:
        raise ValueError(f"recipe.metric: expected one of {sorted(METRICS)}, got {name!r}")
    if name == "pesq":
        try:
            import pesq  # noqa: F401
        except ImportError as error:
            raise ValueError(
                "recipe.metric: pesq is not installed (pip install pesq, which needs a C compiler)"
            ) from error


def _audio(sample_rate: int) -> AudioConfig:
    window = sample_rate // 40
    return AudioConfig(sample_rate, window, window, window // 4, N_BANDS, 0.0, sample_rate / 2)
