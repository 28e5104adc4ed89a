"""Texts of many lengths, one after the other: whether new ones are recorded or compiled anew, and what that costs."""

import statistics
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from hierspeech.benchmarking.inference import Variant, timed
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.sentences import NEUTRAL_PITCH
from hierspeech.pipelines.tts import TextToSpeech, clip_pitch
from hierspeech.pipelines.voice import Voice

PASSES = ("first", "between", "again")
TEXTS = 24  # of each pass


@torch.inference_mode()
def measure_new_lengths(
    voice: Voice, prompt: VoicePrompt, text: str, variants: list[Variant], rate: int | None
) -> list[dict[str, Any]]:
    """Speaks the first ids of a text's longest piece, more and more of them, in three passes.

    The first pass meets its lengths for the first time; the second one has lengths between them; the third is the second again.
    Where nothing is recorded or compiled for a new length as such, the second takes what the third takes.

    Args:
        rate: of the output, where the voice has a super-resolution model to it; None = the voice's own.
    Returns:
        For each variant and pass: texts, graphs recorded, and seconds of the median and the slowest call.
    """
    tts, device, scale = TextToSpeech(voice), voice.device, voice.description.noise_scale
    ids = max(tts.encode(text)[0], key=len)
    raised = None if rate is None else voice.speechsr(rate)
    models = [voice.ttv, voice.synthesizer, *filter(None, [raised])]
    pitch = (prompt.log_f0_mean, prompt.log_f0_std) if prompt.has_pitch else NEUTRAL_PITCH
    ttv_style, style = prompt.ttv_style.to(device), prompt.synthesizer_style.to(device)

    def speak(length: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        part = torch.tensor([list(ids[:length])], device=device)
        pitches = torch.tensor([pitch], device=device)
        out = voice.ttv.infer(part, ttv_style, noise_scale=scale, pitch=pitches, generator=generator)
        log_f0 = clip_pitch(out.log_f0, voice.description.f0_floor_hz)
        inputs = (out.semantic, log_f0, style, out.frame_mask, scale)
        wav = voice.synthesizer.infer(*inputs, generator=generator)
        return (wav if raised is None else raised.infer(wav))[:, 0]

    places = [max(1, round(len(ids) * (n + 1) / (2 * TEXTS))) for n in range(2 * TEXTS)]
    lengths = {"first": places[1::2], "between": places[0::2], "again": places[0::2]}
    rows = []
    for variant in variants:
        with ExitStack() as stack:
            for model in models:
                stack.enter_context(variant.switch(model))
            for name in PASSES:
                before = recordings(models)
                seconds = [timed(lambda n=n: speak(n), device)[0] for n in lengths[name]]
                rows.append(
                    {
                        "pass": name,
                        "texts": len(seconds),
                        "variant": variant.name,
                        "recordings": recordings(models) - before,
                        "median_seconds": statistics.median(seconds),
                        "worst_seconds": max(seconds),
                    }
                )
    return rows


def recordings(models: list[nn.Module]) -> int:
    """Graphs that were recorded for these models so far."""
    captured = [getattr(model, "captured", None) for model in models]
    return sum(graphs.recordings for graphs in captured if graphs is not None)
