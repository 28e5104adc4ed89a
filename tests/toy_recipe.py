"""Two recipes of a few hundred parameters, and a command line so that tests can run them in processes of their own.

`python toy_recipe.py FOLDER MAX_STEPS SECONDS_PER_STEP BATCH_SIZE [DEVICE]` trains the adversarial one in FOLDER.
"""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from speech.checkpoint import Pretrained
from speech.data import step_batches
from speech.interruption import leave
from speech.modules.weight_norm import weight_norm
from speech.training import TrainConfig, fit, seed_everything

LOSSES = {"discriminator": {"adversarial": 1.0}, "generator": {"adversarial": 1.0, "mel": 45.0}}


@dataclass
class ToyConfig:
    dim: int = 4


class ToyGenerator(nn.Module, Pretrained):
    """Weight norm and dropout: the two things a resume gets wrong first."""

    Config = ToyConfig

    def __init__(self, config: ToyConfig, dropout: float = 0.1):
        super().__init__()
        self.config = config
        self.inner = weight_norm(nn.Linear(config.dim, 16))
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(16, config.dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.dropout(F.relu(self.inner(x))))


def example(index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    item = np.random.default_rng(index).standard_normal((2, 4), dtype=np.float32)
    return item[0], item[1] + 0.1 * rng.standard_normal(4, dtype=np.float32)


def collate(items: list) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = zip(*items, strict=True)
    return torch.from_numpy(np.stack(x)), torch.from_numpy(np.stack(y))


class GanRecipe:
    published = "generator"

    def __init__(self, config: TrainConfig, dim: int = 4, dropout: float = 0.1, seconds: float = 0.0):
        self.config, self.seconds = config, seconds
        discriminator = nn.Sequential(nn.Linear(dim, 16), nn.LeakyReLU(), nn.Linear(16, 1))
        self.modules = {
            "generator": ToyGenerator(ToyConfig(dim), dropout),
            "discriminator": discriminator,
        }
        self.validations, self.previews = 0, 0

    def batches(self, start_step):
        c = self.config
        return step_batches(example, collate, 50, c.batch_size, c.seed, start_step, c.num_workers)

    def turns(self, batch, step):
        time.sleep(self.seconds)
        x, wav = batch
        discriminator = self.modules["discriminator"]
        wav_hat = self.modules["generator"](x)
        real, fake = discriminator(wav), discriminator(wav_hat.detach())
        yield "discriminator", {"adversarial": (1 - real).square().mean() + fake.square().mean()}
        adversarial = (1 - discriminator(wav_hat)).square().mean()
        yield "generator", {"adversarial": adversarial, "mel": F.l1_loss(wav_hat, wav)}

    def audio_seconds(self, batch):
        return 2.0 * len(batch[0])

    def validate(self):
        assert not self.modules["generator"].training
        self.validations += 1
        return {"mel": 0.5}

    def preview(self, writer, step):
        self.previews += 1


class PlainRecipe(GanRecipe):
    """One module, one turn; notes the type that autocast gives."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.modules = {"generator": ToyGenerator(ToyConfig())}

    def turns(self, batch, step):
        wav_hat = self.modules["generator"](batch[0])
        self.dtype = wav_hat.dtype
        yield "generator", {"mel": F.l1_loss(wav_hat.float(), batch[1])}


def run(recipe, losses=LOSSES) -> int:
    return fit(recipe, recipe.config, losses, {"train": asdict(recipe.config), "recipe": {"name": "toy"}})


def main(folder: str, max_steps: int, seconds: float, batch_size: int, device: str = "cpu") -> None:
    config = TrainConfig(
        run="toy",
        runs_folder=folder,
        max_steps=max_steps,
        batch_size=batch_size,
        save_every=5,
        log_every=5,
        validate_every=0,
        ema=0.9,
        lr=1e-2,
        device=device,
        precision="fp32",
        num_workers=0,
        tensorboard=False,
    )
    seed_everything(1)
    run(GanRecipe(config, dropout=0.0 if batch_size != 8 else 0.1, seconds=seconds))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
    leave(0)
