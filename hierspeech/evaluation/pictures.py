"""Small pictures and sounds for reports: spectrograms as PNG, wavs as Ogg, both as data URIs. No image library is needed."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from typing import Any

import numpy as np
import soundfile

from hierspeech.evaluation.items import load_cached
from speech.audio import BLOCK_SAMPLES, load_audio
from speech.f0 import HOP_LENGTH, SAMPLE_RATE, extract_f0

WIDTH, HEIGHT = 280, 88  # pixels at most; the page scales them up
RANGE_DB = 70.0
LEVELS = 16  # four bits a pixel
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz
F0_STEP = 2  # of 5 ms
# black, violet, orange, pale yellow: dark to light in even steps, for those too who tell no colours apart
STOPS = ((0, 0, 4), (60, 15, 110), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))


def picture(path: str | os.PathLike, max_seconds: float = 30.0) -> dict[str, Any]:
    """Spectrogram and pitch of a sound file.

    Returns:
        src (data URI), seconds, top_hz (at the upper edge; linear in Hz from 0) and f0: Hz every 10 ms, 0 where unvoiced.
    """
    wav, rate = load_cached(path)
    wav = wav[: int(max_seconds * rate)]
    f0 = extract_f0(wav, rate)[::F0_STEP]
    return {
        "src": _uri("image/png", png(levels(wav, rate))),
        "seconds": len(wav) / rate,
        "top_hz": rate // 2,
        "f0": np.round(f0).astype(int).tolist(),
        "f0_step": F0_STEP * HOP_LENGTH / SAMPLE_RATE,
    }


def levels(wav: np.ndarray, rate: int) -> np.ndarray:
    """wav [T] -> 0..15 by level, the loudest 15 and 70 dB below 0 [HEIGHT, columns]; the highest band first."""
    n_fft = 1 << int(np.ceil(np.log2(0.032 * rate)))  # 32 ms: harmonics of a voice can be told apart
    columns = max(1, min(WIDTH, len(wav) * 100 // rate))
    padded = np.pad(np.asarray(wav, np.float32), n_fft // 2)
    hop = max(1, rate // 200)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(n_fft).astype(np.float32), axis=1)))[:, 1:]
    rows = np.array_split(np.arange(power.shape[1]), HEIGHT)
    power = np.stack([power[:, row].mean(axis=1) for row in rows])  # [HEIGHT, frames]
    columns = min(columns, power.shape[1])
    edges = np.linspace(0, power.shape[1], columns + 1).astype(int)
    power = np.add.reduceat(power, edges[:-1], axis=1) / np.diff(edges)
    level_db = 10 * np.log10(np.maximum(power / max(float(power.max()), 1e-12), 1e-12))
    return np.clip((1 + level_db / RANGE_DB) * (LEVELS - 1), 0, LEVELS - 1).round().astype(np.uint8)[::-1]


def png(pixels: np.ndarray) -> bytes:
    """Pixels 0..15 [H, W] as a PNG of four bits with a palette."""
    height, width = pixels.shape
    even = np.pad(pixels, ((0, 0), (0, width % 2)))
    packed = (even[:, ::2] << 4) | even[:, 1::2]
    lines = np.pad(packed, ((0, 0), (1, 0)))  # each line begins with its filter, 0: none
    position = np.linspace(0, len(STOPS) - 1, LEVELS)
    palette = np.stack([np.interp(position, range(len(STOPS)), [s[c] for s in STOPS]) for c in range(3)], 1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"PLTE", palette.round().astype(np.uint8).tobytes())
        + chunk(b"IDAT", zlib.compress(lines.astype(np.uint8).tobytes(), 9))
        + chunk(b"IEND", b"")
    )


def sound(path: str | os.PathLike, sample_rate: int | None = None, max_seconds: float = 30.0) -> str:
    """A sound file as mono Opus in Ogg, as a data URI: some 30 kbit/s of speech at 16 kHz, clear to the ear.

    Args:
        sample_rate: the highest in Hz; None keeps the file's own, up to 48 kHz. Opus knows OPUS_RATES alone.
    """
    own = load_cached(path)[1]
    highest = min(own, sample_rate or own)
    rate = next((rate for rate in OPUS_RATES if rate >= highest), OPUS_RATES[-1])
    wav, _ = load_audio(path, rate, max_seconds=max_seconds)
    data = io.BytesIO()  # never a file of its own: what a page holds is written with the page
    with soundfile.SoundFile(data, "w", rate, 1, "OPUS", format="OGG") as file:
        for start in range(0, len(wav), BLOCK_SAMPLES):
            file.write(wav[start : start + BLOCK_SAMPLES].clip(-1, 1))
    return _uri("audio/ogg", data.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
