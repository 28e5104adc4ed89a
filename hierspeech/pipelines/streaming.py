"""Speech that can be heard while the rest of it is still to be computed: what the `stream` methods of pipelines share.

A piece of text (or of a source) becomes features as a whole; its decoder then runs in windows with exact halos, small ones first
so that sound begins early, then larger ones, which cost less for what they give. Super-resolution and resampling go on over all
pieces. docs/streaming.md has measurements. Shapes: T samples, N frames at 50 Hz.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from torch import Tensor

from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.pauses import rising
from hierspeech.pipelines.stream_output import Leveller, RateChanger
from hierspeech.pipelines.timings import Timings
from hierspeech.pipelines.voice import Voice
from hierspeech.synthesizer.windows import decode_windows

FIRST_FRAMES = 16  # 0.32 s: the first window
LARGEST_FRAMES = 320  # 6.4 s: windows double up to this


@dataclass
class StreamPiece:
    """What one piece of a stream is decoded from."""

    z: Tensor  # acoustic latent [1, latent, N]
    log_f0: Tensor  # [1, 1, 4N]
    pause_samples: int = 0  # of silence before it
    keep_samples: int | None = None  # of what is decoded; the rest is cut off (None = nothing is)
    unheard_samples: int = (
        0  # at the end of the last piece: super-resolution sees them, but nothing is heard of them
    )
    fade_in: int = 0  # samples
    fade_out: Callable[[], int] = lambda: 0  # samples; asked for when the last window is there
    timings: Timings = field(default_factory=lambda: Timings([], []))  # counted from its first window
    style: Tensor | None = None  # of the synthesizer [1, style.out], where it is not that of the stream
    gains: np.ndarray | None = None  # factors on the samples [T]


class Lookahead(Iterator):
    """An iterator that knows whether there is more, by computing the next item when that is asked."""

    def __init__(self, items: Iterable):
        self._items = iter(items)
        self._next: list = []

    def __next__(self):
        return self._next.pop() if self._next else next(self._items)

    def more(self) -> bool:
        """Whether another item follows."""
        if not self._next:
            self._next = list(islice(self._items, 1))
        return bool(self._next)


def window_sizes(first: int = FIRST_FRAMES, largest: int = LARGEST_FRAMES) -> Iterator[int]:
    """Frames of one window after the other: from `first`, doubled up to `largest`, without end."""
    size = min(first, largest)
    while True:
        yield size
        size = min(2 * size, largest)


def speak_pieces(
    pieces: Iterable[StreamPiece],
    voice: Voice,
    style: Tensor,
    output_sample_rate: int,
    level: str,
    prompt_peak: float | None,
    unknown: list[str] | None = None,
    sizes: Iterator[int] | None = None,
    energy_db: float = 0.0,
) -> Generator[Speech, None, None]:
    """Decodes pieces window by window.

    Args:
        pieces: taken one by one, when the one before has been decoded.
        voice: whose models decode.
        style: of the synthesizer [1, style.out].
        output_sample_rate: 16000, 24000 or 48000 Hz.
        level, prompt_peak, energy_db: as for `output.set_level`; see `Leveller` for what becomes of them.
        unknown: grows while pieces are taken: symbols of the text that the voice cannot speak.
        sizes: frames of the windows, of all pieces together.
    Yields:
        Chunks that are never empty, each with the symbols met since the last one.
    Raises:
        ValueError: samples that are not finite.
    """
    changer = RateChanger(voice, output_sample_rate)
    leveller = Leveller(level, prompt_peak, output_sample_rate, energy_db)
    if sizes is None:
        # a first window that super-resolution can make sound of
        sizes = window_sizes(FIRST_FRAMES + math.ceil(changer.halo / voice.audio.hop_length))
    received, returned, audible = 0, 0, math.inf
    unknown = [] if unknown is None else unknown
    timed = Timings([], [])  # of pieces that began since the last chunk

    def chunk(wav: np.ndarray, last: bool = False) -> Iterator[Speech]:
        nonlocal received, returned
        received += len(wav)
        wav = changer.push(wav, last)[: max(0, round(min(received, audible) * changer.ratio) - returned)]
        returned += len(wav)
        if len(wav):
            met = list(dict.fromkeys(unknown))
            unknown.clear()
            words, phonemes = timed.words, timed.phonemes
            timed.words, timed.phonemes = [], []
            yield Speech(leveller(wav), output_sample_rate, met, words=words, phonemes=phonemes)

    for piece in pieces:
        if received:
            leveller.begin_piece(round((received + piece.pause_samples) * changer.ratio))
        if piece.pause_samples:
            yield from chunk(np.zeros(piece.pause_samples, np.float32))
        timed.add(piece.timings.shifted(received / voice.sample_rate))
        if piece.unheard_samples:
            audible = received + piece.z.shape[-1] * voice.audio.hop_length - piece.unheard_samples
        for wav in decode_piece(piece, voice, style, sizes):
            yield from chunk(wav)
    yield from chunk(np.zeros(0, np.float32), last=True)


def decode_piece(
    piece: StreamPiece, voice: Voice, style: Tensor, sizes: Iterator[int]
) -> Iterator[np.ndarray]:
    """wav [T] of the windows of one piece, faded and cut as it says."""
    model, hop = voice.synthesizer, voice.audio.hop_length
    total = piece.z.shape[-1] * hop
    keep = total if piece.keep_samples is None else piece.keep_samples
    done = 0
    style = style if piece.style is None else piece.style
    for window in decode_windows(model, piece.z, style, piece.log_f0, sizes):
        wav = window[0, 0].float().cpu().numpy()
        if not np.isfinite(wav).all():
            raise ValueError(
                f"the voice {voice.description.name!r} gave samples that are not finite: its weights are broken."
            )
        first, done = done == 0, done + len(wav)
        if piece.gains is not None:
            wav = wav * piece.gains[done - len(wav) : done]
        if first:
            wav = wav * rising(len(wav), min(piece.fade_in, total // 2))
        if done == total:
            wav = wav * rising(len(wav), min(piece.fade_out(), total // 2))[::-1]
        yield wav[: max(0, len(wav) - (done - keep))] if done > keep else wav


def first_audio_seconds(
    stream: Callable[[], Iterator[Speech]], rest: bool = False, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float, float | None]:
    """Times one stream.

    >>> first_audio_seconds(lambda: tts.stream(text, prompt))

    Args:
        stream: starts it; models and prompt should be loaded, and one stream have been spoken before.
        rest: go on to the end, too.
        clock: what is read, in seconds; `time.process_time` counts the work where others use the machine.
    Returns:
        Seconds from the call to the first chunk; seconds of sound in that chunk; with `rest` the seconds to the last chunk.
    """
    began = clock()
    chunks = stream()
    first = next(chunks)
    latency = clock() - began
    if not rest:
        chunks.close()
        return latency, first.seconds, None
    for _ in chunks:
        pass
    return latency, first.seconds, clock() - began
