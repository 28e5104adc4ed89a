"""Semantic tokens -> sound, three ways: autoregressive codes, masked codes, or the bridge to the base voice's synthesizer.

Shapes: T samples, N semantic tokens, Q codebooks, M frames of codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.sentences import NEUTRAL_PITCH
from hierspeech.pipelines.spear_prompt import SpearPrompt
from hierspeech.pipelines.spear_voice import SpearVoice

WAYS = ("ar", "nar", "bridge")
PROMPTINGS = ("style", "continue", "both")


@dataclass
class Acoustics:
    """How tokens become sound.

    Args:
        way: "ar" draws codes frame after frame, "nar" all of them in a few passes, "bridge" speaks through the base voice's
            synthesizer; None is the voice's default.
        prompting: the speaker by "style" vector, by going on from a few seconds of tokens and codes ("continue"), or "both".
        temperature: of the codes, 0 takes the likeliest; None is the voice's.
        top_k, top_p: only among the likeliest codes.
        guidance: above 1 tokens and speaker are followed more closely than the model would of itself; None is the voice's.
        steps: passes over the coarsest codebook of the masked model.
    """

    way: str | None = None
    prompting: str = "style"
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    guidance: float | None = None
    steps: int = 16


def pick_way(way: str | None, voice: SpearVoice) -> str:
    """The way itself where the voice has it, or its default for None.

    Raises:
        ValueError: a way that this voice does not have, or no such way.
    """
    has = voice.description
    there = [
        name
        for name, part in zip(WAYS, (has.semantic_to_acoustic, has.masked, has.bridge), strict=True)
        if part is not None
    ]
    if way is None:
        return has.decoder or there[0]
    if way not in there:
        raise ValueError(
            f"decoder {way!r}: the voice {has.name!r} has {', '.join(there)}, expected one of these."
        )
    return way


def check_prompting(prompting: str) -> None:
    """One-sentence ValueError for a way of saying who speaks that there is not."""
    if prompting not in PROMPTINGS:
        raise ValueError(f"prompting {prompting!r}: expected one of {', '.join(PROMPTINGS)}.")


@torch.inference_mode()
def tokens_to_codes(
    tokens: Tensor,
    n_tokens: Tensor,
    prompts: list[SpearPrompt],
    voice: SpearVoice,
    acoustics: Acoustics,
    seeds: list[int],
    callback: Callable[[Tensor], None] | None = None,
) -> list[Tensor]:
    """Codes of several sentences at once.

    Args:
        tokens: [B, N]; n_tokens: [B].
        prompts: one speaker for each row. seeds: one for each row; a row of a batch is what it is alone.
        callback: called with new codes [B, Q, m] as soon as there are more of them.
    Returns:
        codes [Q, M] of each row.
    """
    from spear.sampling import Sampling

    way = pick_way(acoustics.way, voice)
    model = voice.semantic_to_acoustic if way == "ar" else voice.masked
    check_prompting(acoustics.prompting)
    temperature, guidance = acoustics.temperature, acoustics.guidance
    sampling = Sampling(
        voice.description.acoustic_temperature if temperature is None else temperature,
        acoustics.top_k,
        acoustics.top_p,
        voice.description.acoustic_guidance if guidance is None else guidance,
    )
    style = None
    if acoustics.prompting != "continue":
        name = "style" if way == "ar" else "masked_style"
        rows = [getattr(prompt, name) for prompt in prompts]
        if any(row is None for row in rows):
            raise ValueError("the prompt has no style for this decoder: expected one made with this voice.")
        style = torch.cat(rows).to(voice.device)
    before = None
    if acoustics.prompting != "style":
        if any(prompt.tokens is None or prompt.codes is None for prompt in prompts):
            raise ValueError("the prompt holds no tokens to go on from, expected one made with a codec.")
        before = _pad_prompts(prompts, model.config.n_codebooks, voice.device)
    codes = model.generate(
        tokens.to(voice.device),
        n_tokens.to(voice.device),
        style,
        before,
        sampling,
        steps=acoustics.steps,
        callback=callback,
        seed=seeds,
    )
    lengths = model.n_frames(n_tokens)
    return [row[:, : int(length)].cpu() for row, length in zip(codes, lengths, strict=True)]


def _pad_prompts(prompts: list[SpearPrompt], n_codebooks: int, device: torch.device) -> tuple:
    n_tokens = torch.tensor([prompt.tokens.shape[1] for prompt in prompts])
    longest, frames = int(n_tokens.max()), max(prompt.codes.shape[-1] for prompt in prompts)
    tokens = torch.stack(
        [torch.nn.functional.pad(p.tokens[0], (0, longest - p.tokens.shape[1])) for p in prompts]
    )
    codes = torch.stack(
        [torch.nn.functional.pad(p.codes[0, :n_codebooks], (0, frames - p.codes.shape[-1])) for p in prompts]
    )
    parts = (tokens.to(device), codes.to(device))
    return (*parts, n_tokens.to(device)) if len(prompts) > 1 else parts


@torch.inference_mode()
def codes_to_wav(codes: Tensor, voice: SpearVoice) -> np.ndarray:
    """codes [Q, M] -> wav [T] at the codec's rate."""
    return voice.codec.decode(codes[None].to(voice.device))[0, 0].float().cpu().numpy()


@torch.inference_mode()
def bridge_to_wav(
    tokens: Tensor, prompt: SpearPrompt, voice: SpearVoice, generator: torch.Generator | None = None
) -> np.ndarray:
    """tokens [1, N] -> wav [T] at the base voice's rate, by the bridge and its synthesizer."""
    mean, deviation = prompt.log_f0 if prompt.log_f0[0] > 0 else NEUTRAL_PITCH
    out = voice.bridge.infer(
        tokens.to(voice.device), pitch=torch.tensor([[mean, deviation]], device=voice.device)
    )
    base = voice.base
    style = prompt.bridge_style.to(voice.device)
    wav = base.synthesizer.infer(
        out.semantic,
        out.log_f0,
        style,
        out.frame_mask,
        noise_scale=base.description.noise_scale,
        generator=generator,
    )
    return wav[0, 0].float().cpu().numpy()
