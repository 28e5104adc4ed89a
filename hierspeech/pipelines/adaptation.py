"""Adaptation of a voice prompt: the synthesizer's style vector is moved until it speaks a recording as the recording sounds.

The style encoder guesses a style from one look at the reference. Here the guess is improved by gradient descent: the reference's own
semantic features and pitch are spoken again, and the style follows the difference of the spectra. The models stay as they are,
and the prompt stays as small; it takes seconds instead of milliseconds, once for each voice.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hierspeech.pipelines.arguments import MAX_ADAPT_STEPS
from hierspeech.pipelines.prompt import VoicePrompt, clean, equalized, hear
from hierspeech.pipelines.voice import Voice
from hierspeech.synthesizer.encoders import F0_PER_FRAME
from speech.mel_loss import MelLoss, mels_of_sizes

ADAPTATION_STEPS = 60
LEARNING_RATE = 0.03
PIECES, PIECE_FRAMES = 4, 100  # of 2 s in every step
MEL_SIZES = [256, 512, 1024, 2048]
MEL_GAIN = 16.0  # the mel's floor would hide what is faint
MEL_WEIGHT, MAGNITUDE_WEIGHT = 10.0, 8.0  # as in the training of the shipped voice
CLEANED_SHARE = 0.6  # of the recording that is spoken again, where the voice has a denoiser


def adapt(
    prompt: VoicePrompt,
    reference: str | Path | np.ndarray,
    voice: Voice,
    steps: int = ADAPTATION_STEPS,
    sample_rate: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VoicePrompt:
    """The prompt with a synthesizer style that fits the reference better.

    Args:
        prompt: made of the reference by `voice`.
        reference: the recording itself: a sound file, or samples [T] in [-1, 1].
        voice: one with a semantic encoder, as conversion needs it.
        steps: of gradient descent, 0 to 1000; 0 gives the prompt back. More of them fit this recording ever more closely.
        sample_rate: of `reference` in Hz if it is an array (default: the voice's own).
        progress: called with (steps done, steps in all).
    Raises:
        ValueError: an unusable reference, a voice without semantic encoder, or steps out of range.
    """
    if not 0 <= steps <= MAX_ADAPT_STEPS:
        raise ValueError(f"adaptation steps {steps}: expected 0 to {MAX_ADAPT_STEPS}.")
    if steps == 0:
        return prompt
    pieces = _Pieces(reference, voice, sample_rate)
    numbers = voice.synthesizer.config.style_config.out
    start = prompt.synthesizer_style[:, :numbers].to(voice.device, torch.float32)
    move = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.Adam([move], lr=LEARNING_RATE, betas=(0.9, 0.95))
    distances = MelLoss(mels_of_sizes(MEL_SIZES)).to(voice.device)
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        for step in range(steps):
            semantic, log_f0, wav = pieces.draw(generator)
            style = (start + move).expand(len(wav), -1)
            wav_hat, _ = voice.synthesizer.reconstruct(semantic, log_f0, style)
            mel, magnitude = distances.distances(wav * MEL_GAIN, wav_hat[:, 0].float() * MEL_GAIN)
            loss = MEL_WEIGHT * mel + MAGNITUDE_WEIGHT * magnitude
            (move.grad,) = torch.autograd.grad(loss, [move])
            optimizer.step()
            if progress:
                progress(step + 1, steps)
    with torch.inference_mode():  # what the fitted style still lacks is measured anew
        style = equalized((start + move).detach(), pieces.recording, pieces.f0, voice)
    return replace(prompt, synthesizer_style=style.cpu().clone())


class _Pieces:
    """The reference, its features and its pitch, in whole frames."""

    def __init__(self, reference: str | Path | np.ndarray, voice: Voice, sample_rate: int | None) -> None:
        hop = voice.audio.hop_length
        wav, f0, _ = hear(reference, voice, sample_rate)
        frames = len(wav) // hop
        wav, f0 = wav[: frames * hop], f0[: F0_PER_FRAME * frames]
        target = wav
        if voice.description.denoiser is not None:
            target = CLEANED_SHARE * clean(wav, voice) + (1 - CLEANED_SHARE) * wav
        heard = torch.from_numpy(wav)[None].to(voice.device)
        with torch.no_grad():
            semantic = voice.synthesizer.detailed(voice.semantic_encoder(heard), heard)
        # copies: what an encoder made in inference mode takes part in no gradient
        self.semantic = semantic.float().clone()[..., :frames]  # [1, C, N]
        self.log_f0 = torch.from_numpy(np.log(f0 + 1)).float().to(voice.device)[None, None]
        self.wav = torch.from_numpy(target.astype(np.float32)).to(voice.device)[None]
        self.frames, self.hop = frames, hop
        # as it is: prompts that are not fitted are measured on that, too
        self.recording, self.f0 = wav[None], f0

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Features [B, C, n], log F0 [B, 1, 4n] and wave [B, n * hop] of random pieces; of a short recording, all of it."""
        length = min(self.frames, PIECE_FRAMES)
        places = [0]
        if self.frames > length:
            places = torch.randint(self.frames - length + 1, (PIECES,), generator=generator).tolist()

        def cut(x: Tensor, rate: int) -> Tensor:
            return torch.cat([x[..., place * rate : (place + length) * rate] for place in places])

        return cut(self.semantic, 1), cut(self.log_f0, F0_PER_FRAME), cut(self.wav, self.hop)
