"""Speaker perturbation of waves: the words and their timing stay, voice, intonation and channel become others.

HierSpeech++ takes the semantic features of its prior from speech perturbed in the manner of NANSY (Choi et al. 2021;
section 9.1 of the hand-over): formants, pitch and its range, and a random parametric equaliser. Batched and on any
device, so that it runs on the fly where the model trains. speech/perturbation.py is the cheaper kind, on mel spectrograms.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from speech.psola import change_voice

TAPS = 4096  # of the equaliser as a filter of finite length; a quarter of a second at 16 kHz


@dataclass
class WavePerturbationConfig:
    """Ranges of the random changes; NANSY's values, which HierSpeech++ does not print.

    A ratio is drawn from 1 to the value and inverted half of the time; 1 switches the change off.
    """

    rate: float = 1.0  # share of the utterances that are changed at all
    formants: float = 1.4
    pitch: float = 2.0
    pitch_range: float = 1.5
    gain_db: float = 12.0  # each band of the equaliser by up to so much, up or down; 0 = no equaliser
    low_hz: float = 60.0  # corner of the low shelf
    high_hz: float = 10000.0  # corner of the high shelf, at most 95 % of the Nyquist frequency
    peaks: int = 8  # peaking filters, at equal ratios between the two
    q_low: float = 2.0
    q_high: float = 5.0
    keep_level: bool = True  # give each utterance its level back, lower where a sample would pass full scale

    def __post_init__(self):
        if not 0 <= self.rate <= 1 or min(self.formants, self.pitch, self.pitch_range) < 1:
            raise ValueError(f"expected a rate of 0 to 1 and ratios of at least 1, got {self}")
        if self.gain_db < 0 or not 0 < self.low_hz < self.high_hz or not 0 < self.q_low <= self.q_high:
            raise ValueError(
                f"expected gain_db >= 0, 0 < low_hz < high_hz and 0 < q_low <= q_high, got {self}"
            )


@dataclass
class Perturbation:
    """What was drawn for a batch."""

    formants: Tensor  # [B] ratio
    pitch: Tensor  # [B] ratio
    pitch_range: Tensor  # [B] ratio
    gains_db: Tensor  # [B, 2 + peaks] low shelf, peaks, high shelf
    q: Tensor  # [B, 2 + peaks]


def draw(batch: int, config: WavePerturbationConfig, device: torch.device | str = "cpu") -> Perturbation:
    """Random changes for `batch` utterances, from torch's random state."""
    changed = torch.rand(batch, device=device) < config.rate

    def ratio(largest: float) -> Tensor:
        value = 1 + torch.rand(batch, device=device) * (largest - 1)
        value = torch.where(torch.rand(batch, device=device) < 0.5, 1 / value, value)
        return torch.where(changed, value, 1.0)

    bands = (batch, 2 + config.peaks)
    formants, pitch, pitch_range = ratio(config.formants), ratio(config.pitch), ratio(config.pitch_range)
    gains_db = (torch.rand(bands, device=device) * 2 - 1) * config.gain_db * changed[:, None]
    q = config.q_low * (config.q_high / config.q_low) ** torch.rand(bands, device=device)
    return Perturbation(formants, pitch, pitch_range, gains_db, q)


def perturb_wave(wav: Tensor, f0: Tensor, config: WavePerturbationConfig, sample_rate: int = 16000) -> Tensor:
    """Perturb each utterance of a batch in its own way.

    Args:
        wav: [B, T], zeros where padded.
        f0: [B, K] Hz, 0 = unvoiced, K a divisor of T.
    Returns:
        [B, T] float32; padding stays silent but for what rings on for some milliseconds.
    """
    return apply(wav, f0, draw(len(wav), config, wav.device), config, sample_rate)


def apply(
    wav: Tensor, f0: Tensor, drawn: Perturbation, config: WavePerturbationConfig, sample_rate: int = 16000
) -> Tensor:
    """Apply what was drawn; see `perturb_wave`."""
    wav = wav.float()
    out = wav
    if max(config.formants, config.pitch, config.pitch_range) > 1:
        out = change_voice(out, f0, drawn.formants, drawn.pitch, drawn.pitch_range, sample_rate)
        same = (drawn.formants == 1) & (drawn.pitch == 1) & (drawn.pitch_range == 1)
        out = torch.where(same[:, None], wav, out)
    if config.gain_db > 0:
        out = equalise(out, drawn.gains_db, drawn.q, config, sample_rate)
    if config.keep_level:
        level, new_level = (x.square().mean(1, keepdim=True).sqrt() for x in (wav, out))
        gain = level / new_level.clamp(min=1e-8)
        out = out * torch.minimum(gain, 1 / out.abs().amax(1, keepdim=True).clamp(min=1e-8))
    return out


def equalise(
    wav: Tensor, gains_db: Tensor, q: Tensor, config: WavePerturbationConfig, sample_rate: int = 16000
) -> Tensor:
    """Filter wav [B, T] with a low shelf, peaks and a high shelf; gains_db, q [B, 2 + peaks]. Returns [B, T] float32."""
    with torch.autocast(wav.device.type, enabled=False):
        taps = torch.fft.irfft(band_response(gains_db, q, config, sample_rate).prod(1), TAPS)  # [B, TAPS]
        n_fft = wav.shape[1] + TAPS
        spectrum = torch.fft.rfft(wav.float(), n_fft) * torch.fft.rfft(taps, n_fft)
        return torch.fft.irfft(spectrum, n_fft)[:, : wav.shape[1]]


def band_response(gains_db: Tensor, q: Tensor, config: WavePerturbationConfig, sample_rate: int) -> Tensor:
    """Complex response of each band at TAPS / 2 + 1 frequencies up to Nyquist: [B, 2 + peaks] -> [B, 2 + peaks, F].

    Biquads of the Audio EQ Cookbook (Bristow-Johnson), evaluated on the unit circle.
    """
    device = gains_db.device
    high = min(config.high_hz, 0.95 * sample_rate / 2)
    share = torch.linspace(0, 1, 2 + config.peaks, device=device)
    corner = 2 * math.pi / sample_rate * config.low_hz * (high / config.low_hz) ** share  # radians, [bands]
    a = 10 ** (gains_db / 40)  # [B, bands]
    cos, alpha = torch.cos(corner), torch.sin(corner) / (2 * q)
    shelf, root = 2 * a.sqrt() * alpha, a + 1
    up, down = root + (a - 1) * cos, root - (a - 1) * cos
    across, back = (a - 1) + root * cos, (a - 1) - root * cos
    ones = torch.ones_like(a)
    # numerator and denominator of each kind, [6, B, bands]
    low_shelf = torch.stack(
        [a * (down + shelf), 2 * a * back, a * (down - shelf), up + shelf, -2 * across, up - shelf]
    )
    high_shelf = torch.stack(
        [a * (up + shelf), -2 * a * across, a * (up - shelf), down + shelf, 2 * back, down - shelf]
    )
    peak = torch.stack(
        [1 + alpha * a, -2 * cos * ones, 1 - alpha * a, 1 + alpha / a, -2 * cos * ones, 1 - alpha / a]
    )
    bands = torch.cat([low_shelf[..., :1], peak[..., 1:-1], high_shelf[..., -1:]], -1)[..., None]
    angle = torch.linspace(0, math.pi, TAPS // 2 + 1, device=device)
    delay = torch.polar(torch.ones_like(angle), -angle)
    numerator, denominator = (c[0] + c[1] * delay + c[2] * delay**2 for c in (bands[:3], bands[3:]))
    return numerator / denominator
