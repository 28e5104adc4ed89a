"""Formants and pitch of recorded speech changed independently, batched, without a loop over frames or utterances.

Time-domain pitch-synchronous overlap-add (TD-PSOLA; Moulines and Charpentier 1990), which Praat's "Change gender" uses
and with it NANSY's perturbation, written as two reads per output sample: the grains that overlap at a sample are the ones
before and after it. A phase vocoder would smear the pulses of a voice and has no pitch that varies in time; LPC would
replace the excitation. Here pauses and unvoiced speech pass through unchanged, and length and timing stay.

Shapes: B batch, T samples, K = T / hop values of F0, J grains.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

UNVOICED_HZ = 125.0  # rate of the grains where there is no pitch
F0_RANGE_HZ = (40.0, 800.0)  # of the new pitch
OVERSAMPLING = 4  # reads are linear interpolations on a finer grid: 0.5 dB are lost at 7 kHz
CENTRE_FRAMES = 7  # F0 frames over which the place of the pulses within a period is averaged (35 ms)


def change_voice(
    wav: Tensor,
    f0: Tensor,
    formant_ratio: Tensor,
    pitch_shift: Tensor,
    pitch_range: Tensor,
    sample_rate: int = 16000,
) -> Tensor:
    """Scale formants and move the pitch of each utterance by its own factors.

    Args:
        wav: [B, T].
        f0: [B, K] Hz, 0 = unvoiced, K a divisor of T; value k stands for the k-th of K equal stretches.
        formant_ratio: [B], the spectral envelope of f moves to ratio * f.
        pitch_shift: [B], factor on the geometric mean of the pitch.
        pitch_range: [B], factor on the distance (in octaves) from that mean; 1 keeps the intonation, 0 is a monotone.
    Returns:
        [B, T] float32.
    Raises:
        ValueError: if K does not divide T.
    """
    samples, values = wav.shape[-1], f0.shape[-1]
    if not values or samples % values:
        raise ValueError(f"f0 has {values} values for {samples} samples, expected a divisor")
    with torch.autocast(wav.device.type, enabled=False):
        wav, f0 = wav.float(), f0.float()
        hop = samples // values
        new_f0 = shifted_f0(f0, pitch_shift, pitch_range)
        rates = (torch.where(x > 0, x, UNVOICED_HZ).repeat_interleave(hop, 1) for x in (f0, new_f0))
        rate, new_rate = (x / sample_rate for x in rates)  # periods a sample, [B, T]
        # summed in double precision: the place within a period counts, of which a minute has thousands
        phase, new_phase = rate.double().cumsum(1), new_rate.double().cumsum(1)
        voiced = f0 > 0
        centre = _pulse_phase(wav, phase, voiced)  # [B, K]

        # Grain j lies where the new phase reaches j; the table has room for the highest pitch, whatever the batch.
        count = int(samples * max(F0_RANGE_HZ[1], UNVOICED_HZ) / sample_rate) + 2
        numbers = torch.arange(count, device=wav.device, dtype=torch.float64).expand(len(wav), -1)
        index = torch.searchsorted(new_phase, numbers.contiguous()).clamp(max=samples - 1)  # [B, J]
        behind = (new_phase.gather(1, index) - numbers) / new_rate.gather(1, index)  # samples
        place = index - behind
        frame = index // hop
        grain_voiced = voiced.gather(1, frame)
        grain_rate = rate.gather(1, index)
        # It is read from around the nearest sample at which a pulse of the voice is, no further off than half a period.
        here = phase.gather(1, index) - behind * grain_rate
        offset = centre.gather(1, frame) - here
        offset = (offset - offset.round()) / grain_rate * grain_voiced
        # Grains are two periods of what is read or of what is written, whichever is shorter.
        narrow = formant_ratio[:, None] * grain_rate / new_rate.gather(1, index)
        narrow = torch.where(grain_voiced, narrow.clamp(min=1), 1.0)

        fine = _oversample(wav, formant_ratio)
        first = new_phase.floor().long()  # [B, T]
        within = (new_phase - first).float()
        now = torch.arange(samples, device=wav.device)
        total, power = torch.zeros_like(wav), torch.zeros_like(wav)
        for which, distance in ((first, within), (first + 1, 1 - within)):
            weight = torch.cos((distance * narrow.gather(1, which)).clamp(max=1) * (math.pi / 2)).square()
            source = place.gather(1, which)
            source = source + offset.gather(1, which) + formant_ratio[:, None] * (now - source)
            total = total + weight * _read(fine, source)
            power = power + weight.square()
        # Stretched grains of noise do not match where they overlap: their powers add, not their values.
        noise = ~(grain_voiced.gather(1, first) | grain_voiced.gather(1, first + 1))
        noise &= formant_ratio[:, None] != 1
        return torch.where(noise, total / power.sqrt().clamp(min=1e-3), total)


def shifted_f0(f0: Tensor, pitch_shift: Tensor, pitch_range: Tensor) -> Tensor:
    """The pitch that `change_voice` gives: f0 [B, K] Hz (0 = unvoiced), pitch_shift and pitch_range [B] -> [B, K]."""
    voiced = f0 > 0
    log_f0 = torch.where(voiced, f0, 1.0).log()
    mean = log_f0.sum(1, keepdim=True) / voiced.sum(1, keepdim=True).clamp(min=1)
    new = (mean + pitch_shift.log()[:, None] + (log_f0 - mean) * pitch_range[:, None]).exp()
    return torch.where(voiced, new.clamp(*F0_RANGE_HZ), 0.0)


def _pulse_phase(wav: Tensor, phase: Tensor, voiced: Tensor) -> Tensor:
    """Where in a period the energy of the voice lies: phase [B, K] in periods, for phase [B, T] of the pitch.

    The first circular moment, over the period, of the energy of the wave's slope. A grain centred elsewhere would hold two
    halves of pulses, and cancel at every second new harmonic. Falling slopes count half, since those of a sinusoid would
    otherwise be as strong as its rising ones and leave no moment.
    """
    angle = (phase - phase.floor()).float() * (-2 * math.pi)
    slope = F.pad(wav.diff(dim=1), (1, 0))
    energy = (slope.square() * torch.where(slope > 0, 1.0, 0.5)).unflatten(1, (voiced.shape[1], -1))
    angle = angle.unflatten(1, (voiced.shape[1], -1))
    moments = torch.stack(((energy * angle.cos()).sum(2), (energy * angle.sin()).sum(2)), 1) * voiced[:, None]
    window = torch.hann_window(CENTRE_FRAMES + 2, periodic=False, device=wav.device)[1:-1]
    kernel = window.expand(2, 1, -1)
    real, imaginary = F.conv1d(moments, kernel, padding=CENTRE_FRAMES // 2, groups=2).unbind(1)
    return -torch.atan2(imaginary, real).double() / (2 * math.pi)


def _oversample(wav: Tensor, formant_ratio: Tensor) -> Tensor:
    """wav [B, T] on a grid OVERSAMPLING times as fine, without what would leave the band when formants rise."""
    n_fft = wav.shape[1] + 1024  # silence behind the end, so that it does not ring into the beginning
    spectrum = torch.fft.rfft(wav, n_fft)
    relative = torch.linspace(0, 1, spectrum.shape[1], device=wav.device) * formant_ratio[:, None]
    slope = (0.5 + 0.5 * torch.cos((relative - 0.92).clamp(min=0) / 0.08 * math.pi)) * (relative < 1)
    spectrum = spectrum * torch.where(formant_ratio[:, None] > 1, slope, 1.0)
    spectrum[:, -1] *= (
        0.5 if n_fft % 2 == 0 else 1.0
    )  # the last bin has no mirror image before, and one after
    fine = torch.fft.irfft(spectrum, n_fft * OVERSAMPLING) * OVERSAMPLING
    return F.pad(fine[:, : wav.shape[1] * OVERSAMPLING], (1, 1))  # silence on both sides


def _read(fine: Tensor, position: Tensor) -> Tensor:
    """Values of `fine` [B, about OVERSAMPLING * T] at position [B, T] in samples, by linear interpolation; 0 outside."""
    position = (position * OVERSAMPLING + 1).clamp(0, fine.shape[1] - 1)
    low = position.long().clamp(max=fine.shape[1] - 2)
    share = (position - low).float()
    return torch.lerp(fine.gather(1, low), fine.gather(1, low + 1), share)
