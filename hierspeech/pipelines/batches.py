"""Many texts at once: their sentences, sorted by length, go through text-to-vec and synthesizer in padded batches.

Every row of a batch draws from its own random numbers and is masked to its own length, so that it sounds as it would alone
(to 1e-4; rounding differs with the shape of a matrix product, and where that tips a duration to the next frame, by that
frame). Shapes: B rows, S phonemes, N frames at 50 Hz, T samples.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hierspeech.pipelines.arguments import pick_seed, piece_generator
from hierspeech.pipelines.contours import contour, gains
from hierspeech.pipelines.fingerprints import ReferenceFingerprints
from hierspeech.pipelines.options import SpeakingOptions
from hierspeech.pipelines.output import Speech, check_level
from hierspeech.pipelines.prompt import Reference, VoicePrompt, as_prompt
from hierspeech.pipelines.prosody import Delivery, mark_text, shape_pitch
from hierspeech.pipelines.questions import question_rise
from hierspeech.pipelines.sentences import NEUTRAL_PITCH, Sentence
from hierspeech.pipelines.timings import Spoken
from hierspeech.pipelines.tts import TextToSpeech, clip_pitch
from speech.masks import lengths_to_mask

WINDOW_BATCHES = (
    8  # sentences of this many batches are sorted by length at a time; their samples are what memory holds
)
MAX_PADDING = 0.25  # of a batch; beyond it, a shorter batch is faster


@dataclass
class BatchItem:
    """One text to speak; what is None here is as the options of the whole batch say."""

    text: str
    reference: Reference = None
    language: str | None = None
    speed: float | None = None
    seed: int | None = None
    pitch_shift: float | None = None
    pitch_range: float | None = None
    energy: float | None = None


OWN = (
    "language",
    "speed",
    "seed",
    "pitch_shift",
    "pitch_range",
    "energy",
)  # of an item, besides text and reference


@dataclass
class BatchResult:
    """What became of one item: speech, or the sentence that says why there is none."""

    index: int  # of the item
    speech: Speech | None
    error: str | None = None


@dataclass
class _Work:
    """An item on its way: what it needs and the pieces that are spoken so far."""

    index: int
    sentences: list[Sentence] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    delivery: Delivery | None = None
    pieces: list[Spoken | None] = field(default_factory=list)
    error: str | None = None


@dataclass
class Row:
    """One sentence of a batch."""

    sentence: Sequence[int]
    delivery: Delivery
    generator: torch.Generator


def speak_items(
    tts: TextToSpeech,
    items: Iterable[BatchItem | dict[str, Any] | str],
    options: SpeakingOptions | None = None,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
) -> Iterator[BatchResult]:
    """Speaks items, and gives each result, in their order, when those of its window are done.

    Args:
        items: texts, `BatchItem`s or dictionaries with the names of its fields; may be endless.
        options: how to speak what an item does not say itself.
        batch_size: sentences that are spoken together, at most.
        progress: called with the number of items done.
    Raises:
        ValueError: options outside their range. What is wrong with an item is in its result.
    """
    options = (options or SpeakingOptions()).fill_in(tts.voice)
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size}: expected a positive whole number.")
    tts.voice.speechsr(options.output_sample_rate)  # if it is broken, that is said before anything is spoken
    prompts: dict[str, VoicePrompt] = {}
    if options.mix_with is not None:  # listened to once, too
        second = as_prompt(options.mix_with, tts.voice, denoise_ratio=options.denoise_ratio)
        options = replace(options, mix_with=second)
    fingerprint = ReferenceFingerprints(tts.voice)
    window: list[_Work] = []
    for index, item in enumerate(items):
        window.append(_prepare(tts, index, item, options, prompts, fingerprint))
        if sum(len(work.sentences) for work in window) >= WINDOW_BATCHES * batch_size:
            yield from _finish_window(tts, window, batch_size, progress)
            window = []
    yield from _finish_window(tts, window, batch_size, progress)


def _prepare(
    tts: TextToSpeech,
    index: int,
    item: BatchItem | dict[str, Any] | str,
    options: SpeakingOptions,
    prompts: dict[str, VoicePrompt],
    fingerprint: ReferenceFingerprints,
) -> _Work:
    """Everything of an item that can be wrong, before it takes part in a batch."""
    work = _Work(index)
    try:
        item = as_item(item)
        own = {name: getattr(item, name) for name in OWN}
        chosen = replace(options, **{k: v for k, v in own.items() if v is not None}).fill_in(tts.voice)
        text = mark_text(item.text, chosen.mix)
        work.sentences, work.unknown = tts.encode(text, chosen.language)
        reference = fingerprint(item.reference)
        if reference not in prompts:
            ratio = options.denoise_ratio
            prompts[reference] = as_prompt(item.reference, tts.voice, denoise_ratio=ratio)
        check_level(options.level, prompts[reference].peak)
        work.delivery = Delivery(prompts[reference], chosen, options.mix_with)
        for sentence in work.sentences:
            work.delivery.voice(sentence)
        work.pieces = [None] * len(work.sentences)
    except (ValueError, OSError) as error:
        work.error, work.sentences = " ".join(str(error).split()), []
    return work


def as_item(item: BatchItem | dict[str, Any] | str) -> BatchItem:
    """Whatever describes an item as a `BatchItem`; ValueError for names that no item has."""
    if isinstance(item, BatchItem):
        return item
    if isinstance(item, str):
        return BatchItem(item)
    known = list(BatchItem.__dataclass_fields__)
    if unknown := [name for name in item if name not in known]:
        raise ValueError(f"unknown {', '.join(map(str, unknown))}: expected some of {', '.join(known)}.")
    if not isinstance(item.get("text"), str):
        raise ValueError("the item has no text, expected something to say.")
    return BatchItem(**item)


def _finish_window(
    tts: TextToSpeech, window: list[_Work], batch_size: int, progress: Callable[[int], None] | None
) -> Iterator[BatchResult]:
    """Speaks the sentences of some items, and puts each item together."""
    places = [(work, place) for work in window for place in range(len(work.sentences))]
    lengths = [
        len(work.sentences[place]) / work.delivery.speed(work.sentences[place]) for work, place in places
    ]
    for bucket in make_buckets(lengths, batch_size):
        rows = [_row(*places[number]) for number in bucket]
        options = places[bucket[0]][0].delivery.options  # noise scales are those of the whole batch
        pieces = speak_rows(tts, rows, options.noise_scale, options.noise_scale_vc)
        for number, piece in zip(bucket, pieces, strict=True):
            work, place = places[number]
            work.pieces[place] = piece
    for work in window:
        yield _result(tts, work)
        if progress:
            progress(work.index + 1)


def _row(work: _Work, place: int) -> Row:
    seed = pick_seed(work.delivery.options.seed)
    return Row(work.sentences[place], work.delivery, piece_generator(seed, place))


def _result(tts: TextToSpeech, work: _Work) -> BatchResult:
    if work.error is not None:
        return BatchResult(work.index, None, work.error)
    try:
        speech = tts.put_together(work.pieces, work.sentences, work.delivery, work.unknown)
    except ValueError as error:  # samples that are not finite
        return BatchResult(work.index, None, str(error))
    work.pieces = []
    return BatchResult(work.index, speech)


def make_buckets(lengths: list[float], batch_size: int) -> list[list[int]]:
    """Numbers of things of similar length, at most `batch_size` together, the longest first: it shows at once whether
    memory is enough.

    No bucket is padded by more than MAX_PADDING of itself.
    """
    buckets: list[list[int]] = []
    total = 0.0
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        bucket = buckets[-1] if buckets else []
        padded = (len(bucket) + 1) * lengths[bucket[0]] if bucket else 0.0
        if not bucket or len(bucket) == batch_size or padded - total - lengths[number] > MAX_PADDING * padded:
            buckets.append([])
            total = 0.0
        buckets[-1].append(number)
        total += lengths[number]
    return buckets


@torch.inference_mode()
def speak_rows(tts: TextToSpeech, rows: list[Row], noise_scale: float, noise_scale_vc: float) -> list[Spoken]:
    """`TextToSpeech.speak` of several sentences at once."""
    voice, device = tts.voice, tts.voice.device
    lengths = torch.tensor([len(row.sentence) for row in rows])
    languages = [getattr(row.sentence, "languages", None) for row in rows]
    prompts = [row.delivery.voice(row.sentence) for row in rows]
    pitches = [(p.log_f0_mean, p.log_f0_std) if p.has_pitch else NEUTRAL_PITCH for p in prompts]
    generators = [row.generator for row in rows]
    out = voice.ttv.infer(
        _pad([row.sentence for row in rows]).to(device),
        torch.cat([prompt.ttv_style for prompt in prompts]).to(device),
        lengths_to_mask(lengths).to(device),
        noise_scale=noise_scale,
        length_scale=torch.tensor([1.0 / row.delivery.speed(row.sentence) for row in rows], device=device),
        pitch=torch.tensor(pitches, device=device),
        generator=generators,
        language_ids=None if languages[0] is None else _pad(languages).to(device),
    )
    floor_hz, hop = voice.description.f0_floor_hz, voice.audio.hop_length
    log_f0, asked = clip_pitch(out.log_f0, floor_hz), []
    durations = [row[: len(own.sentence)] for row, own in zip(out.durations.tolist(), rows, strict=True)]
    for place, row in enumerate(rows):
        n_frames, options = int(out.frame_mask[place].sum()), row.delivery.options
        source = getattr(row.sentence, "source", None)
        height, spread = log_f0[place, 0].float().cpu().numpy(), options.pitch_range
        rise = question_rise(
            source, durations[place], n_frames, height, voice.description.question_rise, spread
        )
        asked.append(
            contour(source, durations[place], n_frames, options.pitch_shift, options.pitch_range, rise)
        )
        own = log_f0[place : place + 1, :, : 4 * n_frames]
        log_f0[place, :, : 4 * n_frames] = shape_pitch(own, asked[-1], prompts[place], floor_hz)[0]
    wav = voice.synthesizer.infer(
        out.semantic,
        log_f0,
        torch.cat([prompt.synthesizer_style for prompt in prompts]).to(device),
        out.frame_mask,
        noise_scale=noise_scale_vc,
        generator=generators,
    )
    spoken = []
    for place, row in enumerate(wav):
        own = row[0, : int(out.frame_mask[place].sum()) * hop].float().cpu().numpy().copy()
        loud = gains(asked[place], hop)
        spoken.append(Spoken(own if loud is None else own * loud, durations[place]))
    return spoken


def _pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """Lists of different lengths -> [B, S], zeros behind the shorter ones."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(list(row)) for row in rows], batch_first=True)
