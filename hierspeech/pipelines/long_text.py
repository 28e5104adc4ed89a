"""A text of any length into a sound file: memory does not grow with it, and an interrupted run is gone on with.

Three passes, each of which begins where it was left: sentences are spoken at the voice's rate, the rate is changed in
chunks, and the whole is levelled while it is written. Samples are those of `TextToSpeech.__call__`; what is in memory is
one sentence or chunk, besides the text.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from hierspeech.pipelines.arguments import piece_generator
from hierspeech.pipelines.fingerprints import (
    fingerprint_program,
    fingerprint_reference,
    fingerprint_text,
    fingerprint_voice,
)
from hierspeech.pipelines.options import SpeakingOptions
from hierspeech.pipelines.output import (
    CHUNK_SAMPLES,
    SYNTHETIC,
    change_rate_in_chunks,
    check_finite,
    scaling,
)
from hierspeech.pipelines.partial import Partial
from hierspeech.pipelines.pauses import fade
from hierspeech.pipelines.prompt import Reference
from hierspeech.pipelines.prosody import Delivery, mark_text
from hierspeech.pipelines.sentences import FADE_SECONDS, Sentence
from hierspeech.pipelines.subtitles import check_timestamps, write_timestamps
from hierspeech.pipelines.timings import Timings, time_sentences
from hierspeech.pipelines.tts import TextToSpeech
from hierspeech.pipelines.voice import Voice
from speech.audio import BLOCK_SAMPLES, LEVEL_BLOCK, block_power, check_writable, save_blocks

Progress = Callable[[str, int, int], None]  # (what is counted, how many are done, how many there are)


@dataclass
class Written:
    """A file of speech as it was written."""

    seconds: float
    sample_rate: int
    unknown: list[str]  # symbols of the text that the voice cannot speak
    resumed: int  # sentences that were there already


def speak_to_file(
    tts: TextToSpeech,
    text: str,
    path: str | os.PathLike,
    reference: Reference = None,
    options: SpeakingOptions | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    timestamps: str | os.PathLike | None = None,
) -> Written:
    """Speaks a text into a .wav, .flac or .ogg file.

    Until the file is there, PATH.partial holds what was done; the same call goes on with it.

    Args:
        options: how to speak; equal seeds give equal files.
        progress: called with ("sentence" or "chunk", done, in all), first with what was done before.
        say: told in a sentence that an earlier run is gone on with, or why it is not.
        timestamps: a .srt, .vtt, .TextGrid or .json file that says when the words are heard.
    Raises:
        ValueError: nothing to speak, an unusable reference or an argument outside its range, in one sentence.
        KeyboardInterrupt: with a sentence about what was done.
    """
    voice, path = tts.voice, check_writable(path)
    if timestamps is not None:
        check_timestamps(str(timestamps), str(path))
    say = say or (lambda sentence: None)
    options = (options or SpeakingOptions()).fill_in(voice)
    voice.speechsr(options.output_sample_rate)  # if it is broken, that is said before the text is spoken
    sentences, unknown = tts.encode(mark_text(text, options.mix), options.language)
    made_of = options.facts(voice) | {
        "text": fingerprint_text(text),
        "reference": fingerprint_reference(reference, voice),
        "voice": fingerprint_voice(voice),
        "program": fingerprint_program(voice),
    }
    delivery = tts.delivery(reference, options)
    with Partial(path, made_of) as partial:
        resumed = partial.count("spoken")
        if partial.changed:
            say(f"{partial.folder} was made with another {' and '.join(partial.changed)}: starting anew.")
        elif resumed:
            say(f"going on after sentence {resumed} of {len(sentences)} ({partial.folder}).")
        try:
            _speak(tts, sentences, delivery, partial, progress)
            track = "spoken"
            if options.output_sample_rate != voice.sample_rate:
                _change_rate(voice, options.output_sample_rate, partial, progress)
                track = "finished"
            _write(path, partial, track, options, delivery.prompt.peak, tts)
        except KeyboardInterrupt as stop:
            done = partial.count("spoken")
            raise KeyboardInterrupt(
                f"interrupted after sentence {done} of {len(sentences)}; the same command goes on from there "
                f"({partial.folder} holds what is done)."
                if done
                else "interrupted, nothing written."
            ) from stop
        seconds = partial.samples(track) / options.output_sample_rate
        if timestamps is not None:
            write_timestamps(timestamps, _timings(tts, sentences, partial), text, seconds)
        partial.remove()
    return Written(seconds, options.output_sample_rate, unknown, resumed)


def _speak(
    tts: TextToSpeech,
    sentences: list[Sentence],
    delivery: Delivery,
    partial: Partial,
    progress: Progress | None,
) -> None:
    """The sentences that are not there yet, each with the pause behind it."""
    voice = tts.voice
    rate, fade_ends = voice.sample_rate, tts.fade_ends
    last = len(sentences) - 1
    first = partial.count("spoken")
    if progress:
        progress("sentence", first, len(sentences))
    for index in range(first, len(sentences)):
        sentence = sentences[index]
        piece = tts.speak_piece(sentence, delivery, piece_generator(delivery.options.seed, index))
        check_finite(piece.wav, voice)
        wav = fade(piece.wav, int(FADE_SECONDS * rate), index > 0 or fade_ends, index < last or fade_ends)
        if index < last:
            wav = np.pad(wav, (0, delivery.pause(sentence, rate)))
        partial.append("spoken", wav, {"samples": len(wav), "durations": piece.durations})
        if progress:
            progress("sentence", index + 1, len(sentences))


def _timings(tts: TextToSpeech, sentences: list[Sentence], partial: Partial) -> Timings:
    """When the words of all sentences are heard, by what was noted when they were spoken."""
    durations = [note["durations"] for note in partial.notes]
    lengths = [note["samples"] for note in partial.notes]
    return time_sentences(sentences, durations, lengths, tts.voice.sample_rate, tts.frame_seconds)


def _change_rate(voice: Voice, output_sample_rate: int, partial: Partial, progress: Progress | None) -> None:
    """The chunks at the output's rate that are not there yet."""
    n_samples = partial.samples("spoken")
    total = ceil(n_samples / CHUNK_SAMPLES)
    first = partial.count("finished")
    if progress:
        progress("chunk", min(first, total), total)
    chunks = change_rate_in_chunks(
        lambda start, stop: partial.read("spoken", start, stop), n_samples, voice, output_sample_rate, first
    )
    for done, chunk in enumerate(chunks, first + 1):
        partial.append("finished", chunk)
        if progress:
            progress("chunk", min(done, total), total)


def _write(
    path: os.PathLike,
    partial: Partial,
    track: str,
    options: SpeakingOptions,
    prompt_peak: float | None,
    tts: TextToSpeech,
) -> None:
    """All samples, levelled, into the file: once through them to know their level, and once to write them."""
    n_samples = partial.samples(track)
    power, highest = [], np.float32(0)
    block = max(1, min(n_samples, LEVEL_BLOCK))
    at_once = BLOCK_SAMPLES // block * block
    for wav in partial.blocks(track, at_once):
        highest = max(highest, np.abs(wav).max(initial=np.float32(0)))
        power.append(block_power(wav, block))
    scale = scaling(highest, np.concatenate(power), options.level, prompt_peak, options.energy)
    rate = options.output_sample_rate
    save_blocks(path, (tts.mark(scale(wav), rate) for wav in partial.blocks(track)), rate, SYNTHETIC)
