"""Noises made by formula, rooms, and mixing at a signal-to-noise ratio: what clean speech is spoiled with in training.

Every generator is `f(samples, sample_rate, rng) -> noise [samples]` of RMS 1, and draws its character (tilt, pitch, rate,
depth of modulation) anew at each call, so that the denoiser learns "what is not speech" rather than a list of noises.
`babble` is made of speech and lies apart. T samples.
"""

from collections.abc import Callable, Sequence

import numpy as np

from speech.audio import block_power

Generator = Callable[[int, int, np.random.Generator], np.ndarray]


def coloured(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Hiss to rumble: a random spectral tilt with two broad bumps, swelling slowly (wind, traffic, tape, preamplifiers)."""
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate)
    tilt_db = rng.uniform(-9.0, 2.0)  # per octave; white is 0, pink -3, brown -6
    octave = np.log2(np.maximum(frequency, 30.0) / 1000.0)
    level_db = tilt_db * octave
    for _ in range(2):
        centre, width = rng.uniform(-4.0, 3.0), rng.uniform(0.3, 1.5)
        level_db += rng.normal(0.0, 6.0) * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    noise = _filtered(rng.standard_normal(samples), level_db)
    return _unit_rms(noise * slow_gain(samples, sample_rate, rng, rng.uniform(0.0, 5.0)))


def hum(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum: 50 or 60 Hz and its harmonics, the even ones (rectifiers) stronger or weaker, over a little hiss."""
    base = rng.choice([50.0, 60.0]) * rng.uniform(0.995, 1.005)
    order = np.arange(1, int(rng.integers(6, 40)) + 1)
    level_db = -rng.uniform(3.0, 12.0) * np.log2(order) + rng.normal(0.0, 5.0, len(order))
    level_db += np.where(order % 2 == 0, rng.uniform(-12.0, 12.0), 0.0)
    phase = 2 * np.pi * base * np.arange(samples) / sample_rate
    harmonics = np.cos(order[:, None] * phase + rng.uniform(0, 2 * np.pi, (len(order), 1)))
    noise = 10 ** (level_db / 20) @ harmonics
    hiss = coloured(samples, sample_rate, rng)
    return _unit_rms(_unit_rms(noise) + 10 ** (rng.uniform(-30.0, -6.0) / 20) * hiss)


def fan(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Fans and engines: bands of noise that the blades modulate, and the tones of their rotation."""
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate)
    octave = np.log2(np.maximum(frequency, 30.0) / 1000.0)
    level_db = rng.uniform(-8.0, -3.0) * octave
    for _ in range(int(rng.integers(1, 4))):
        centre, width = rng.uniform(-3.5, 2.0), rng.uniform(0.1, 0.5)
        level_db += rng.uniform(6.0, 18.0) * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    noise = _unit_rms(_filtered(rng.standard_normal(samples), level_db))
    blades = rng.uniform(15.0, 250.0)  # Hz
    phase = 2 * np.pi * blades * np.arange(samples) / sample_rate + rng.uniform(0, 2 * np.pi)
    noise *= 1 + rng.uniform(0.0, 0.6) * np.cos(phase)
    tones = sum(np.cos(k * phase + rng.uniform(0, 2 * np.pi)) / k for k in range(1, 6))
    noise += 10 ** (rng.uniform(-25.0, 0.0) / 20) * tones
    return _unit_rms(noise * slow_gain(samples, sample_rate, rng, rng.uniform(0.0, 2.0)))


def clicks(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Keyboards, crackle and knocks: impulses at random times, each ringing for some milliseconds, over a little hiss."""
    rate_hz = 10 ** rng.uniform(0.3, 1.5)
    count = 1 + rng.poisson(rate_hz * samples / sample_rate)
    noise = np.zeros(samples)
    for _ in range(int(rng.integers(1, 4))):  # a few kinds of knock, which differ in resonance
        train = np.zeros(samples)
        np.add.at(
            train, rng.integers(0, samples, count), rng.normal(0.0, 1.0, count) * rng.gamma(1.0, 1.0, count)
        )
        length = int(rng.uniform(0.004, 0.05) * sample_rate)
        time = np.arange(length) / sample_rate
        ring = np.cos(2 * np.pi * 10 ** rng.uniform(2.0, 3.7) * time) + rng.uniform(
            0.1, 1.0
        ) * rng.standard_normal(length)
        noise += _convolved(train, ring * np.exp(-time * 10 ** rng.uniform(2.0, 3.0)))
    hiss = coloured(samples, sample_rate, rng)
    return _unit_rms(_unit_rms(noise) + 10 ** (rng.uniform(-30.0, -10.0) / 20) * hiss)


def drops(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Rain, running water, fire and applause: hundreds of short sounds a second, of many pitches and loudnesses."""
    rate_hz = 10 ** rng.uniform(1.5, 4.0)
    count = 1 + rng.poisson(rate_hz * samples / sample_rate)
    centre, spread, uneven = 10 ** rng.uniform(2.5, 3.7), rng.uniform(0.05, 0.5), rng.uniform(0.0, 0.3)
    noise = np.zeros(samples)
    for _ in range(8):  # so many kinds of drop
        train = np.zeros(samples)
        loudness = rng.normal(0.0, 1.0, -(-count // 8)) * 10 ** rng.normal(0.0, uneven, -(-count // 8))
        np.add.at(train, rng.integers(0, samples, len(loudness)), loudness)
        length = int(10 ** rng.uniform(-3.0, -1.5) * sample_rate)
        time = np.arange(length) / sample_rate
        pitch = np.clip(centre * 10 ** rng.normal(0.0, spread), 60.0, 0.48 * sample_rate)
        rise = rng.uniform(0.0, 0.5) * time / time[-1]  # bubbles sing upwards
        ring = np.cos(2 * np.pi * pitch * time * (1 + rise)) + rng.uniform(0.0, 1.5) * rng.standard_normal(
            length
        )
        ring *= np.exp(-5.0 * time / time[-1])
        noise += _convolved(train, ring / np.sqrt(np.square(ring).sum()))
    noise = _unit_rms(noise * slow_gain(samples, sample_rate, rng, rng.uniform(0.0, 4.0)))
    return _unit_rms(noise + 10 ** (rng.uniform(-25.0, 0.0) / 20) * coloured(samples, sample_rate, rng))


def tones(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Music, birds, ringing and beeping: notes with harmonics that start and end, glide and tremble."""
    time = np.arange(samples) / sample_rate
    noise = np.zeros(samples)
    centre, spread = 10 ** rng.uniform(2.0, 3.5), rng.uniform(0.05, 0.3)
    long = 10 ** rng.uniform(-1.2, 0.3)  # seconds of a note, about
    most = int(rng.integers(1, 12))
    tilt_db = rng.uniform(3.0, 15.0)
    for _ in range(min(60, 1 + rng.poisson(rng.uniform(0.3, 3.0) * samples / sample_rate / long))):
        start, length = rng.uniform(-long, time[-1]), long * 10 ** rng.normal(0.0, 0.2)
        first, last = np.searchsorted(time, [start, start + length])
        if last - first < 2:
            continue
        now = time[first:last] - start
        pitch = centre * 10 ** rng.normal(0.0, spread)
        glide = rng.normal(0.0, 0.05) * (rng.random() < 0.5) + rng.normal(0.0, 0.5) * (rng.random() < 0.1)
        tremble = rng.uniform(0.0, 0.02) * np.sin(2 * np.pi * rng.uniform(3.0, 30.0) * now)
        phase = 2 * np.pi * np.cumsum(pitch * (1 + glide * now / length + tremble)) / sample_rate
        order = np.arange(1, 1 + max(1, min(most, int(0.45 * sample_rate / pitch / 1.6))))
        level = 10 ** ((-tilt_db * np.log2(order) + rng.normal(0.0, 4.0, len(order))) / 20)
        made = level @ np.cos(order[:, None] * phase + rng.uniform(0, 2 * np.pi, (len(order), 1)))
        struck = np.exp(-now / length * rng.uniform(0.0, 6.0)) * np.minimum(
            now / rng.uniform(0.002, 0.1), 1.0
        )
        noise[first:last] += (
            made * struck * np.minimum((length - now) / 0.02, 1.0) * 10 ** rng.normal(0.0, 0.2)
        )
    hiss = coloured(samples, sample_rate, rng)
    return _unit_rms(_unit_rms(noise) + 10 ** (rng.uniform(-40.0, -6.0) / 20) * hiss)


# name in `data.noises` -> generator; "babble" is known to denoiser/data.py, which has the other speakers
GENERATORS: dict[str, Generator] = {
    "coloured": coloured,
    "hum": hum,
    "fan": fan,
    "clicks": clicks,
    "drops": drops,
    "tones": tones,
}


def babble(voices: Sequence[np.ndarray]) -> np.ndarray:
    """Several talkers at once: voices, arrays [T] of equal length -> [T] of RMS 1; near ones are not louder than 2:1."""
    return _unit_rms(sum(_unit_rms(voice) * 0.7**i for i, voice in enumerate(voices)))


def slow_gain(samples: int, sample_rate: int, rng: np.random.Generator, depth_db: float) -> np.ndarray:
    """A gain that wanders at 0.1 to 4 Hz with a standard deviation of `depth_db` -> [samples]."""
    coarse = np.arange(0, samples + 400, 400) / sample_rate
    rates = 10 ** rng.uniform(-1.0, 0.6, 4)
    waves = np.cos(2 * np.pi * rates[:, None] * coarse + rng.uniform(0, 2 * np.pi, (4, 1))).sum(0) / np.sqrt(
        2.0
    )
    return np.interp(np.arange(samples), np.arange(len(coarse)) * 400, 10 ** (depth_db * waves / 20))


def room(sample_rate: int, rng: np.random.Generator, rt60_range: tuple[float, float]) -> np.ndarray:
    """Impulse response of a made-up room [T]: the direct sound, 1 at time 0, and an exponentially decaying noise.

    Args:
        rt60_range: seconds in which the reverberation falls by 60 dB, drawn evenly from it.
    """
    rt60 = rng.uniform(*rt60_range)
    time = np.arange(int(rt60 * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * np.exp(-6.9 * time / rt60)
    if rng.random() < 0.7:  # walls and air take the high frequencies first
        dull = np.convolve(tail, np.full(4, 0.25), "same")
        tail = dull + (tail - dull) * np.exp(-6.9 * time / rt60 * rng.uniform(0.0, 2.0))
    tail[: int(rng.uniform(0.001, 0.008) * sample_rate)] = 0.0  # the first wall is some decimetres away
    direct_db = rng.uniform(-2.0, 12.0)  # energy of the direct sound over that of the rest
    tail *= 10 ** (-direct_db / 20) / max(float(np.sqrt(np.square(tail).sum())), 1e-9)
    tail[0] = 1.0
    return tail


def reverberate(wav: np.ndarray, response: np.ndarray, early_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """wav [T] in the room -> (everything [T], direct sound and early reflections only [T]).

    The early part stays in the target: the ear hears it as the voice's own colour, and to ask for its removal would
    make the denoiser harm dry recordings.
    """
    return _convolved(wav, response), _convolved(wav, response[:early_samples])


def active_level(wav: np.ndarray) -> float:
    """RMS of the 25 ms blocks of wav [T] that lie within 30 dB of the loudest: pauses do not make speech quieter."""
    power = block_power(wav, max(1, min(len(wav), 400)))
    return float(np.sqrt(power[power >= power.max() * 1e-3].mean()))


def mix(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """speech [T] + noise [T] scaled to lie `snr_db` below the active level of the speech -> float64 [T].

    Silence instead of speech counts as -50 dB full scale, so that the noise stays finite.
    """
    level = max(active_level(speech), 10 ** (-50 / 20))
    rms = max(float(np.sqrt(np.square(noise).mean())), 1e-9)
    return speech + noise * (level / rms * 10 ** (-snr_db / 20))


def clip(wav: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Overdriven: the samples of wav [T] beyond a random share (20 to 70 %) of its peak are cut."""
    limit = rng.uniform(0.2, 0.7) * max(float(np.abs(wav).max()), 1e-9)
    return wav.clip(-limit, limit)


def narrow_band(samples: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Gain per rfft bin [samples // 2 + 1] of a telephone or a low-rate codec: about 300 Hz or lower up to 3 to 7 kHz."""
    frequency = np.fft.rfftfreq(samples, 1 / sample_rate)
    low, high = rng.uniform(20.0, 320.0), rng.uniform(3000.0, 7000.0)
    return 1 / np.sqrt(1 + (low / np.maximum(frequency, 1.0)) ** 8) / np.sqrt(1 + (frequency / high) ** 24)


def _filtered(white: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """white [T] with the spectral levels `level_db` [T // 2 + 1]; direct current is taken out."""
    response = 10 ** ((level_db - level_db.max()) / 20)
    response[0] = 0.0
    return np.fft.irfft(np.fft.rfft(white) * response, len(white))


def _convolved(wav: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The first T samples of wav [T] convolved with `response`."""
    size = 1 << (len(wav) + len(response) - 2).bit_length()
    return np.fft.irfft(np.fft.rfft(wav, size) * np.fft.rfft(response, size), size)[: len(wav)]


def _unit_rms(wav: np.ndarray) -> np.ndarray:
    return wav / max(float(np.sqrt(np.square(wav).mean())), 1e-9)
