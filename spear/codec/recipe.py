"""Recipe of the compact codec: a multi-scale mel loss, adversarial losses and the codebooks' commitment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from spear.codec.data import DataConfig, Pieces
from spear.codec.model import CompactCodec, CompactCodecConfig
from speech.adversarial import discriminator_loss, judge_both, opinions
from speech.freezing import freeze_all_but
from speech.mel_loss import MelLoss, mels_of_sizes
from speech.modules.discriminators import DiscriminatorConfig, WaveDiscriminator
from speech.training import TrainConfig


@dataclass
class RecipeConfig:
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    adversarial_from: int = 0  # steps before it train on the mel loss alone
    adversarial_seconds: float = 0.5  # piece that the discriminators see
    adversarial_gain: float = 1.0  # on what they see: quiet speech leaves them at chance for long
    mel_sizes: list[int] = field(default_factory=lambda: [256, 512, 1024, 2048])  # STFT sizes of the mel loss
    # share of rows that use a random number of codebooks, so that fewer than all serve too
    codebook_dropout: float = 0.5
    decoder_only: bool = False  # codes stay what they are, and models trained on them go on to fit


class Recipe:
    """Discriminator and codec turns that share one forward pass."""

    @dataclass
    class Config:
        model: CompactCodecConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "codec"

    def __init__(
        self, model: CompactCodecConfig, data: DataConfig, recipe: RecipeConfig, losses, train: TrainConfig
    ):
        self.recipe = recipe
        codec = CompactCodec(model)
        if recipe.decoder_only:
            freeze_all_but(codec, ["decoder"])
        self.config, self.spec = codec.config, codec.spec
        self.modules: dict[str, nn.Module] = {
            "codec": codec,
            "discriminator": WaveDiscriminator(recipe.discriminator),
        }
        self.pieces = Pieces(data, train, self.spec.hop_length)
        self.mel_loss = MelLoss(mels_of_sizes(recipe.mel_sizes))
        self.adversarial_samples = int(recipe.adversarial_seconds * 16000)

    def batches(self, start_step: int) -> Iterator[Tensor]:
        return self.pieces.batches(start_step)

    def audio_seconds(self, batch: Tensor) -> float:
        return batch.numel() / 16000

    def turns(self, batch: Tensor, step: int):
        self.mel_loss.to(batch.device)
        wav_hat, quantized = self.modules["codec"](batch, self._levels(len(batch)).to(batch.device))
        wav_hat = wav_hat.float()
        zero = wav_hat.new_zeros(())
        losses = {"mel": self.mel_loss(batch[:, 0], wav_hat[:, 0]), "commitment": quantized.commitment}
        losses |= {"adversarial": zero, "features": zero}
        if step >= self.recipe.adversarial_from:
            samples = min(self.adversarial_samples, batch.shape[-1])
            start = int(torch.randint(0, batch.shape[-1] - samples + 1, (1,)))
            gain = self.recipe.adversarial_gain
            real, fake = (x[..., start : start + samples] * gain for x in (batch, wav_hat))
            discriminator = self.modules["discriminator"]
            yield (
                "discriminator",
                {"adversarial": discriminator_loss(*judge_both(discriminator, real, fake.detach()))},
            )
            losses |= opinions(discriminator, real, fake)
        yield "codec", losses

    def _levels(self, rows: int) -> Tensor:
        total = self.config.n_codebooks
        fewer = torch.randint(1, total + 1, (rows,))
        return torch.where(torch.rand(rows) < self.recipe.codebook_dropout, fewer, total)

    def _dev(self, number: int) -> Tensor:
        rng = np.random.default_rng(0)
        wavs = [self.pieces.example(i, rng) for i in (self.pieces.dev * 8)[:number]]
        return torch.stack(wavs).to(next(self.modules["codec"].parameters()).device)

    def _codec(self) -> CompactCodec:
        codec = self.modules["codec"]
        return getattr(codec, "module", codec)  # without a distributed wrapper

    def validate(self) -> dict[str, float]:
        """Mel loss with all and with half of the codebooks, and how evenly the codes are used, on dev speakers."""
        if not self.pieces.dev:
            return {}
        wav, codec = self._dev(32), self._codec()
        total = self.config.n_codebooks
        codes = codec.encode(wav)
        out = {}
        for number in sorted({total, max(total // 2, 1)}):
            wav_hat = codec.decode(codes[:, :number])
            out[f"mel_{number}"] = float(self.mel_loss.to(wav.device)(wav[:, 0], wav_hat[:, 0]))
        out["entropy_bits_first"] = entropy_bits(codes[:, 0], self.config.codebook_size)
        return out

    def preview(self, writer, step: int) -> None:
        """Recordings of dev speakers and what the codec gives back, to hear."""
        if not self.pieces.dev:
            return
        wav, codec = self._dev(4), self._codec()
        again = codec.decode(codec.encode(wav))
        for k in range(len(wav)):
            writer.add_audio(f"recording/{k}", wav[k], step, 16000)
            writer.add_audio(f"resynthesis/{k}", again[k].float().clamp(-1, 1), step, 16000)


def entropy_bits(codes: Tensor, codebook_size: int) -> float:
    """Entropy of how often codes occur, in bits; log2(codebook_size) where all occur alike."""
    share = torch.bincount(codes.flatten(), minlength=codebook_size).double()
    share = share[share > 0] / share.sum()
    return float(-(share * share.log2()).sum())
