"""How long each part of speaking takes, in variants that take turns in one process, on the same inputs.

A variant prepares a voice's models in some way, and is switched on by a context, so that no two of them hold weights of their
own. Every figure is that of the fastest call of several rounds; each round goes through all variants.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from denoiser.quality import log_spectral_distance_db
from hierspeech.benchmarking.machine import PeakMemory
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.sentences import NEUTRAL_PITCH
from hierspeech.pipelines.streaming import first_audio_seconds
from hierspeech.pipelines.tts import TextToSpeech, clip_pitch
from hierspeech.pipelines.voice import Voice
from speech.fast import prepare_for_inference

# A call that is shorter than this is repeated within its turn: where other processes take turns with this one, only some calls
# are left alone, and work on several threads slows down many times where one of them has to wait.
ENOUGH_SECONDS = 0.4
MAX_REPEATS = 10

Switch = Callable[[nn.Module], AbstractContextManager[Any]]


@dataclass
class Variant:
    """A way to run the models: `switch` is entered for each of them while the variant is measured."""

    name: str
    switch: Switch


@dataclass
class Row:
    """Figures of one part or total in one variant; seconds are the fastest call's."""

    part: str
    batch: int
    variant: str
    audio_seconds: float
    seconds: float
    first_call_seconds: float
    times_faster: float = 1.0  # than the first variant
    peak_mb: float | None = None  # beyond what was held before the call
    max_difference: float | None = (
        None  # of the wave from the first variant's, relative to its peak where that is over 1
    )
    log_spectral_distance_db: float | None = None  # likewise
    rtf: float = field(init=False)  # seconds of work per second of audio

    def __post_init__(self):
        self.rtf = self.seconds / self.audio_seconds


@dataclass
class Work:
    """A call that does one part's work and gives a wave [B, T] at `rate`, or anything of that size."""

    part: str
    rate: int
    call: Callable[[], Tensor]
    is_wave: bool = True


def prepared(dtype: torch.dtype) -> Switch:
    """The switch of a fast path: what `prepare_for_inference` chooses for `dtype`, kept between turns."""
    kept: dict[int, list[tuple[nn.Module, str, Any]]] = {}

    @contextmanager
    def switch(model: nn.Module) -> Iterator[nn.Module]:
        if id(model) not in kept:
            prepare_for_inference(model, dtype)
            kept[id(model)] = [
                (part, name, getattr(part, name))
                for part in model.modules()
                for name in ("fast", "bf16", "captured")
                if hasattr(part, name)
            ]
        for part, name, chosen in kept[id(model)]:
            setattr(part, name, chosen)
        yield model

    return switch


@torch.inference_mode()
def measure(
    voice: Voice, prompt: VoicePrompt, text: str, variants: list[Variant], rates: list[int], batch: int, rounds: int
) -> list[Row]:  # fmt: skip
    """Times text-to-vec, synthesizer, super-resolution and the whole way to each of `rates`.

    Args:
        text: spoken as one batch of `batch` equal sentences; in totals of batch 1 by the pipeline, from text to samples.
        variants: the first one is what the others are compared with.
    """
    models = [voice.ttv, voice.synthesizer, *filter(None, (voice.speechsr(rate) for rate in rates))]
    works = _works(voice, prompt, text, rates, batch)
    rows: dict[tuple[str, str], Row] = {}
    waves: dict[str, Tensor] = {}
    for turn in range(rounds + 1):  # the first turn warms up: compilers, packed weights, caches
        for variant in variants:
            with ExitStack() as stack:
                for model in models:
                    stack.enter_context(variant.switch(model))
                for work in works:
                    # of a GPU the first call's, too: it records the graphs, whose memory is held from then on
                    watched = turn == 1 or (turn == 0 and voice.device.type == "cuda")
                    with PeakMemory(voice.device) if watched else nullcontext() as peak:
                        seconds, wave = timed(work.call, voice.device)
                    key = (work.part, variant.name)
                    if turn == 0:
                        audio = wave.shape[0] * wave.shape[1] / work.rate
                        rows[key] = Row(work.part, batch, variant.name, audio, float("inf"), seconds)
                        reference = waves.setdefault(work.part, wave)
                        if work.is_wave and variant is not variants[0] and wave.shape == reference.shape:
                            _compare(rows[key], wave, reference, work.rate)
                    else:
                        rows[key].seconds = min(rows[key].seconds, seconds)
                        for _ in range(min(MAX_REPEATS, int(ENOUGH_SECONDS / seconds))):
                            again, _ = timed(work.call, voice.device)
                            rows[key].seconds = min(rows[key].seconds, again)
                    if peak is not None:
                        rows[key].peak_mb = max(
                            filter(None, (peak.megabytes, rows[key].peak_mb)), default=None
                        )
    for (part, _), row in rows.items():
        row.rtf = row.seconds / row.audio_seconds
        row.times_faster = rows[part, variants[0].name].seconds / row.seconds
    return list(rows.values())


@torch.inference_mode()
def measure_first_audio(
    voice: Voice, prompt: VoicePrompt, text: str, variants: list[Variant], rates: list[int], rounds: int
) -> list[dict[str, Any]]:
    """Seconds from the call of `TextToSpeech.stream` to the first audio, the median of `rounds`, by variant and rate."""
    tts = TextToSpeech(voice)
    found = []
    for rate in rates:
        models = [voice.ttv, voice.synthesizer, *filter(None, [voice.speechsr(rate)])]
        taken: dict[str, list[float]] = {variant.name: [] for variant in variants}
        for turn in range(rounds + 1):
            for variant in variants:
                with ExitStack() as stack:
                    for model in models:
                        stack.enter_context(variant.switch(model))
                    seconds, audio, _ = first_audio_seconds(
                        lambda rate=rate: tts.stream(text, prompt, seed=0, output_sample_rate=rate)
                    )
                if turn:
                    taken[variant.name].append(seconds)
        for name, values in taken.items():
            median = sorted(values)[len(values) // 2]
            found.append({"rate": rate, "variant": name, "seconds": median, "first_chunk_seconds": audio})
    return found


def _works(voice: Voice, prompt: VoicePrompt, text: str, rates: list[int], batch: int) -> list[Work]:
    """The parts, on the longest piece of the text, and the totals: the whole text where `batch` is 1."""
    tts, device, scale = TextToSpeech(voice), voice.device, voice.description.noise_scale
    longest = max(tts.encode(text)[0], key=len)
    ids = torch.tensor([longest] * batch, device=device)
    ttv_style = prompt.ttv_style.to(device).expand(batch, -1)
    style = prompt.synthesizer_style.to(device).expand(batch, -1)
    pitch = (prompt.log_f0_mean, prompt.log_f0_std) if prompt.has_pitch else NEUTRAL_PITCH
    pitches = torch.tensor([pitch] * batch, device=device)

    def read() -> tuple[Any, Tensor]:
        generator = torch.Generator().manual_seed(0)
        out = voice.ttv.infer(ids, ttv_style, noise_scale=scale, pitch=pitches, generator=generator)
        return out, clip_pitch(out.log_f0, voice.description.f0_floor_hz)

    def sing(out: Any, log_f0: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return voice.synthesizer.infer(
            out.semantic, log_f0, style, out.frame_mask, scale, generator=generator
        )

    out, log_f0 = read()
    wav = sing(out, log_f0)
    own = voice.sample_rate
    works = [
        Work("text-to-vec", own // 80, lambda: read()[1][:, 0], is_wave=False),
        Work("synthesizer", own, lambda: sing(out, log_f0)[:, 0]),
    ]
    up = {rate: model for rate in rates if (model := voice.speechsr(rate)) is not None}
    for rate, model in up.items():
        name = f"super-resolution to {rate // 1000} kHz"
        works.append(Work(name, rate, lambda model=model: model.infer(wav)[:, 0]))
    if batch == 1:
        for rate in (own, *rates):
            call = partial(_speak, tts, text, prompt, rate)
            works.append(Work(f"text to {rate // 1000} kHz", rate, call))
    else:
        works.append(Work(f"text to {own // 1000} kHz", own, lambda: sing(*read())[:, 0]))
        for rate, model in up.items():
            call = lambda model=model: model.infer(sing(*read()))[:, 0]  # noqa: E731
            works.append(Work(f"text to {rate // 1000} kHz", rate, call))
    return works


def _speak(tts: TextToSpeech, text: str, prompt: VoicePrompt, rate: int) -> Tensor:
    return torch.from_numpy(tts(text, prompt, seed=0, output_sample_rate=rate).audio)[None]


def timed(work: Callable[[], Tensor], device: torch.device) -> tuple[float, Tensor]:
    """Seconds that a call takes until its result is there, and the result on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    wave = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, wave.detach().float().cpu()


def _compare(row: Row, wave: Tensor, reference: Tensor, rate: int) -> None:
    peak = max(float(reference.abs().max()), 1e-9)
    row.max_difference = float((wave - reference).abs().max()) / max(peak, 1.0)
    level = 1 / peak  # random weights may whisper; the measure has a floor
    row.log_spectral_distance_db = float(
        log_spectral_distance_db(wave * level, reference * level, rate).mean()
    )
