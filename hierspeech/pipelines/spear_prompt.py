"""A speaker as a token voice hears them: a style vector, and a few seconds of semantic and acoustic tokens to continue from.

Shapes: T samples, N semantic tokens, Q codebooks, M frames of codes, S style channels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.prompt import VoicePrompt, find_reference, prompt_tag
from hierspeech.pipelines.recording import prepare_reference
from hierspeech.pipelines.spear_voice import SpearVoice
from speech.audio import resample

ENCODER_RATE = 16000  # Hz of what semantic encoders and style encoders hear
PROMPT_SECONDS = 3.0  # of tokens to continue from (SPEAR-TTS section 5)


@dataclass
class SpearPrompt:
    """One speaker; made once, used for any text, saved as safetensors.

    Parts that a voice does not use are None. `voice` names the voice that made it and its base, "lite-spear-2 on lite-4".
    """

    style: Tensor | None  # [1, S], of the autoregressive model
    masked_style: Tensor | None  # [1, S], of the masked one
    bridge_style: Tensor | None  # [1, S], of the base voice's synthesizer
    log_f0: tuple[float, float]  # mean and deviation of ln F0, (0, 0) where nothing is voiced
    tokens: Tensor | None  # long [1, N]
    codes: Tensor | None  # long [1, Q, M]
    voice: str

    @classmethod
    def from_audio(
        cls,
        reference: str | os.PathLike | np.ndarray,
        voice: SpearVoice,
        sample_rate: int | None = None,
    ) -> SpearPrompt:
        """Listens to a recording (a sound file, or samples [T] of `sample_rate` Hz, 16000 by default).

        Raises:
            ValueError: not readable, not finite, silent, or under 0.5 s of sound.
        """
        wav, _ = prepare_reference(reference, ENCODER_RATE, sample_rate or ENCODER_RATE)
        base = VoicePrompt.from_audio(wav, voice.base, ENCODER_RATE)
        tokens, codes = encode_prompt(wav, voice)
        return cls(
            model_style(voice.semantic_to_acoustic, wav),
            model_style(voice.masked, wav),
            base.synthesizer_style if voice.description.bridge else None,
            (base.log_f0_mean, base.log_f0_std),
            tokens,
            codes,
            spear_tag(voice),
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes the prompt as safetensors; the file appears whole or not at all."""
        from safetensors.torch import save_file

        path = Path(path)
        names = ("style", "masked_style", "bridge_style")
        tensors = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        tensors |= {
            name: getattr(self, name).to(torch.int16)
            for name in ("tokens", "codes")
            if getattr(self, name) is not None
        }
        tensors["log_f0"] = torch.tensor(self.log_f0)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"voice": self.voice})
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> SpearPrompt:
        """Reads a saved prompt; ValueError if the file is not one."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                voice = (file.metadata() or {})["voice"]
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                mean, deviation = tensors.pop("log_f0").tolist()
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: not a saved prompt of a token voice ({error}).") from error
        styles = [tensors.get(name) for name in ("style", "masked_style", "bridge_style")]
        for style in styles:
            if style is not None and (style.dim() != 2 or len(style) != 1 or not style.isfinite().all()):
                raise ValueError(
                    f"{path}: not a saved prompt of a token voice (expected finite styles [1, S])."
                )
        tokens, codes = (tensors[name].long() if name in tensors else None for name in ("tokens", "codes"))
        return cls(
            *(None if s is None else s.float() for s in styles), (mean, deviation), tokens, codes, voice
        )


SpearReference = SpearPrompt | np.ndarray | str | os.PathLike | None


def as_spear_prompt(
    reference: SpearReference, voice: SpearVoice, sample_rate: int | None = None
) -> SpearPrompt:
    """Any reference -> a prompt of `voice`: a prompt, samples, a sound file, a saved prompt, a shipped name; None is the first shipped one."""
    if isinstance(reference, np.ndarray):
        return SpearPrompt.from_audio(reference, voice, sample_rate)
    prompt = reference if isinstance(reference, SpearPrompt) else None
    if prompt is None:
        path = find_reference(reference, voice)
        if path.suffix != ".safetensors":
            return SpearPrompt.from_audio(path, voice)
        prompt = SpearPrompt.load(path)
    if prompt.voice != spear_tag(voice):
        raise ValueError(
            f"the prompt was made with the voice {prompt.voice!r}, but this voice is {spear_tag(voice)!r}."
        )
    return prompt


def spear_tag(voice: SpearVoice) -> str:
    """What a prompt remembers of its voice and of the base, whose synthesizer speaks with `bridge_style`."""
    return f"{voice.description.name}-{voice.description.version} on {prompt_tag(voice.base)}"


@torch.inference_mode()
def encode_tokens(wav: np.ndarray, voice: SpearVoice) -> Tensor:
    """wav [T] at 16 kHz -> semantic tokens long [1, N]."""
    features = voice.base.semantic_encoder(torch.from_numpy(wav)[None].to(voice.device))
    return voice.tokenizer.tokens(features.float())


@torch.inference_mode()
def encode_codes(wav: np.ndarray, voice: SpearVoice) -> Tensor:
    """wav [T] at 16 kHz -> codes long [1, Q, M] of the voice's codec.

    Raises:
        ValueError: the voice has none.
    """
    if voice.codec is None:
        raise ValueError(f"the voice {voice.description.name!r} has no codec.")
    rate = voice.codec.spec.sample_rate
    wav = wav if rate == ENCODER_RATE else resample(wav, ENCODER_RATE, rate)
    return voice.codec.encode(torch.from_numpy(wav)[None, None].to(voice.device))


def encode_prompt(wav: np.ndarray, voice: SpearVoice) -> tuple[Tensor | None, Tensor | None]:
    """Tokens [1, N] and codes [1, Q, M] of the same last 3 s (or less, in whole tokens) of wav [T]; None without a codec."""
    if voice.codec is None:
        return None, None
    token_samples = ENCODER_RATE // voice.tokenizer.spec.rate_hz
    n_tokens = min(len(wav), int(PROMPT_SECONDS * ENCODER_RATE)) // token_samples
    piece = np.ascontiguousarray(wav[len(wav) - n_tokens * token_samples :])
    tokens, codes = encode_tokens(piece, voice), encode_codes(piece, voice)
    per_token = voice.codec.spec.rate_hz / voice.tokenizer.spec.rate_hz
    return tokens[:, :n_tokens].cpu(), codes[..., : int(n_tokens * per_token)].cpu()


@torch.inference_mode()
def model_style(model: torch.nn.Module | None, wav: np.ndarray) -> Tensor | None:
    """The style vector [1, S] that a model's own style encoder hears in wav [T] at 16 kHz; None without a model."""
    if model is None:
        return None
    device = next(model.parameters()).device
    return model.encode_style(torch.from_numpy(wav)[None].to(device)).float().cpu()
