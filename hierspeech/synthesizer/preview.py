"""What a synthesizer in training sounds and looks like: recordings, their reconstructions and syntheses, for TensorBoard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hierspeech.synthesizer.model import HierSpeech
from speech.f0 import extract_f0
from speech.masks import lengths_to_mask
from speech.semantic.encoder import HOP_SAMPLES, SemanticSpec
from speech.spectrogram import MEL_FLOOR, AudioConfig
from speech.starting import find_published

F0_LINES = 96  # height of the F0 picture
F0_RANGE = (4.0, 6.4)  # log(F0 + 1) at its bottom and top: 54 to 600 Hz
COLOURS = {"recording": (0.0, 0.0, 0.0), "source": (0.9, 0.1, 0.1), "synthesis": (0.1, 0.2, 0.9)}


@dataclass
class Listening:
    """Fixed pieces as a model renders them; [B, 1, T] waves and [B, 1, 4N] log F0."""

    n_frames: Tensor  # [B]
    log_f0: Tensor  # of the recording
    wav: Tensor
    reconstruction: Tensor  # through the posterior
    synthesis: Tensor  # through the prior
    source_log_f0: Tensor | None  # as the source network predicts it from the posterior's latent


def show(heard: Listening, mel: nn.Module, writer, step: int) -> None:
    """Write sounds, mels (truth above reconstruction above synthesis) and F0 (truth black, the source network's red, the
    synthesis's blue) to a TensorBoard writer."""
    for k, frames in enumerate(heard.n_frames.tolist()):
        waves = {
            name: getattr(heard, name)[k, :, : frames * HOP_SAMPLES]
            for name in ("wav", "reconstruction", "synthesis")
        }
        for name, wav in waves.items():
            tag = "recording" if name == "wav" else name
            writer.add_audio(f"{tag}/{k}", wav.clamp(-1, 1), step, mel.config.sample_rate)
        writer.add_image(
            f"mel/{k}", mel_picture([mel(wav)[0] for wav in waves.values()]), step, dataformats="HW"
        )
        lines = {"recording": heard.log_f0[k, 0, : 4 * frames]}
        if heard.source_log_f0 is not None:
            lines["source"] = heard.source_log_f0[k, 0, : 4 * frames].float()
        tracked = torch.from_numpy(extract_f0(waves["synthesis"][0].float().cpu().numpy(), f0_max=600.0))
        lines["synthesis"] = torch.log1p(tracked).to(heard.log_f0.device)
        writer.add_image(f"f0/{k}", f0_picture(lines), step)


class Speaker:
    """A trained synthesizer, which lets a text-to-vec in training be heard.

    Args:
        folder: a synthesizer, or a voice that has one.
        semantic, audio: the features and the prompts' signal parameters that it will be given.
    Raises:
        ValueError: no synthesizer there, or one of other features or parameters.
    """

    def __init__(self, folder: str | Path, semantic: SemanticSpec, audio: AudioConfig):
        place = find_published(HierSpeech, folder)
        self.model = HierSpeech.from_pretrained(place).requires_grad_(False).eval()
        config = self.model.config
        if (config.semantic, config.audio) != (semantic, audio):
            raise ValueError(
                f"recipe.preview_synthesizer: {place} is for {config.semantic} and {config.audio}, "
                f"expected {semantic} and {audio}"
            )

    def __call__(self, semantic: Tensor, log_f0: Tensor, prompt: Tensor) -> Tensor:
        """semantic [1, C, N], log_f0 [1, 1, 4N], prompt log-mel [1, M, P] -> wav [1, T], without noise."""
        model = self.model.to(semantic.device)
        mask = lengths_to_mask(torch.tensor([prompt.shape[-1]], device=prompt.device))
        style = model.style_encoder(prompt, mask)
        return model.infer(semantic.float(), log_f0.float(), style, noise_scale=0.0)[0]


def mel_picture(mels: list[Tensor]) -> Tensor:
    """Log-mels [M, N] below one another, low bins at the bottom of each, 0 to 1 -> [rows, N]."""
    low = torch.log(torch.tensor(MEL_FLOOR)).item()
    high = max(low + 1.0, mels[0].max().item())
    return torch.cat([((m.flip(0) - low) / (high - low)).clamp(0, 1) for m in mels])


def f0_picture(lines: dict[str, Tensor]) -> Tensor:
    """Lines of log F0 [4N] (0 = unvoiced) by name, in their colours, the first in front -> [3, F0_LINES, 4N]."""
    first = next(iter(lines.values()))
    picture = torch.ones(3, F0_LINES, len(first), device=first.device)
    levels = torch.linspace(F0_RANGE[1], F0_RANGE[0], F0_LINES, device=first.device)[:, None]
    thickness = (F0_RANGE[1] - F0_RANGE[0]) / F0_LINES
    for name, line in reversed(lines.items()):
        drawn = (line[: len(first)] - levels).abs() < thickness  # [F0_LINES, 4N]
        colour = torch.tensor(COLOURS[name], device=first.device)[:, None, None]
        picture = torch.where(drawn, colour, picture)
    return picture
