"""How SpeechSR is trained: narrow and wide recordings, spectral distances and three judges (HierSpeech++ section 3.4; spec 6).

Every loss is named and weighted under `losses:` and computed only if it is named there:

    discriminator: {adversarial}            complex STFTs and periods, the published judges
    wavelet_discriminator: {adversarial}    the paper's sub-band judge, of which nothing was published
    generator: {mel, stft, adversarial, features, wavelet_adversarial, wavelet_features}

Adversarial losses are least squares; "features" is feature matching. A judge and the generator's losses that need it go
together. The mel and log-spectral distances of validation are on fixed pieces, beside those of plain resampling.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speech.adversarial import discriminator_loss, judge_both, opinions
from speech.audio import resample
from speech.modules.discriminators import (
    DiscriminatorConfig,
    WaveDiscriminator,
    WaveletDiscriminator,
    WaveletDiscriminatorConfig,
)
from speech.spectrogram import AudioConfig, MelSpectrogram
from speech.training import TrainConfig
from speechsr.data import DataConfig, SpeechSRData
from speechsr.losses import LOG_FLOOR, log_spectral_distance, multi_resolution_stft
from speechsr.model import SpeechSR, SpeechSRConfig

# judge -> what the names of the generator's losses that need it begin with
JUDGES = {"discriminator": "", "wavelet_discriminator": "wavelet_"}
JUDGED = ("adversarial", "features")
KNOWN = {"mel", "stft", *(prefix + name for prefix in JUDGES.values() for name in JUDGED)}


@dataclass
class RecipeConfig:
    """Options of the training step; the defaults are those of 48 kHz."""

    mel: AudioConfig = field(
        default_factory=lambda: AudioConfig(
            sample_rate=48000, n_fft=1280, win_length=1280, hop_length=320, n_mels=128, f_max=24000.0
        )
    )
    stft_sizes: list[int] = field(
        default_factory=lambda: [2048, 1024, 512, 256]
    )  # samples, of the "stft" loss
    stft_floor: float = (
        LOG_FLOOR  # magnitude below which that loss hears nothing; a full-scale sine's is about 1
    )
    discriminator: DiscriminatorConfig = field(
        default_factory=lambda: DiscriminatorConfig(stft_sizes=[4096, 2048, 1024, 512, 256, 128])
    )
    wavelet: WaveletDiscriminatorConfig = field(default_factory=WaveletDiscriminatorConfig)
    adversarial_from_step: int = 0  # before it only the spectral distances teach
    validation_pieces: int = 16
    validation_seconds: float = 2.0  # of each piece, at most
    previews: int = 4  # pieces to hear and to see

    def __post_init__(self):
        if not self.stft_sizes or any(size < 4 or size % 4 for size in self.stft_sizes):
            raise ValueError(f"stft_sizes: expected multiples of 4, got {self.stft_sizes}")
        if self.validation_pieces < 0 or self.validation_seconds <= 0:
            raise ValueError(
                f"expected validation_pieces of 0 or more and validation_seconds above 0, got {self.validation_pieces} "
                f"and {self.validation_seconds:g}"
            )


class Recipe:
    """The judges and the generator in turn, sharing one forward of the generator."""

    @dataclass
    class Config:
        """The sections of a configuration that this recipe reads."""

        model: SpeechSRConfig
        data: DataConfig
        recipe: RecipeConfig = field(default_factory=RecipeConfig)

    published = "generator"
    model_class: type = SpeechSR

    def __init__(
        self,
        model_config: SpeechSRConfig,
        data_config: DataConfig,
        recipe_config: RecipeConfig,
        losses: dict[str, dict[str, float]],
        train_config: TrainConfig,
    ):
        self.config, self.train_config = recipe_config, train_config
        self.names = check_losses(losses)
        generator = self.model_class(model_config)
        self.rates = model_config.sample_rate, generator.output_rate
        if recipe_config.mel.sample_rate != generator.output_rate:
            raise ValueError(
                f"recipe.mel.sample_rate is {recipe_config.mel.sample_rate}, the model gives {generator.output_rate} Hz"
            )
        for place, sizes in {
            "discriminator.stft_sizes": recipe_config.discriminator.stft_sizes,
            "stft_sizes": recipe_config.stft_sizes,
        }.items():
            if data_config.segment_samples < max(sizes, default=0):
                raise ValueError(
                    f"data.segment_samples {data_config.segment_samples} must reach the largest of recipe.{place} {sizes}"
                )
        self.modules: dict[str, nn.Module] = {"generator": generator}
        if "discriminator" in losses:
            self.modules["discriminator"] = WaveDiscriminator(recipe_config.discriminator)
        if "wavelet_discriminator" in losses:
            self.modules["wavelet_discriminator"] = WaveletDiscriminator(recipe_config.wavelet)
        self.data = SpeechSRData(data_config.filelist, data_config, *self.rates)
        self.validation = None
        if data_config.validation_filelist is not None:
            self.validation = SpeechSRData(data_config.validation_filelist, data_config, *self.rates)
        self.mel = MelSpectrogram(recipe_config.mel)

    def batches(self, start_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(narrow [B, 1, T], wide [B, 1, T * scale]) for step `start_step` and on."""
        train = self.train_config
        return self.data.batches(
            train.batch_size, train.seed, start_step, train.num_workers, train.batch_seconds
        )

    def audio_seconds(self, batch: tuple[Tensor, Tensor]) -> float:
        """Seconds of audio in a batch."""
        return batch[1].numel() / self.rates[1]

    def turns(self, batch: tuple[Tensor, Tensor], step: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The losses of one step."""
        narrow, wide = batch
        made = self.modules["generator"](narrow).float()
        values = {}
        if "mel" in self.names:
            values["mel"] = self._mel_distance(made, wide)
        if "stft" in self.names:
            values["stft"] = multi_resolution_stft(
                made[:, 0], wide[:, 0], self.config.stft_sizes, self.config.stft_floor
            )
        for judge, prefix in JUDGES.items():
            if judge not in self.modules:
                continue
            judged = dict.fromkeys(JUDGED, wide.new_zeros(()))
            if step >= self.config.adversarial_from_step:
                yield (
                    judge,
                    {
                        "adversarial": discriminator_loss(
                            *judge_both(self.modules[judge], wide, made.detach())
                        )
                    },
                )
                judged = opinions(self.modules[judge], wide, made)
            values |= {prefix + name: value for name, value in judged.items() if prefix + name in self.names}
        yield "generator", values

    def validate(self) -> dict[str, float]:
        """Mel distance and log-spectral distance (bels) of held-out pieces, the latter above the narrow band too.

        "plain" is what a band-limited resampler gives: the thing to beat.
        """
        rows = []
        for small, wide, plain in self._pieces():
            made = self.modules["generator"](small)
            row = {"mel": self._mel_distance(made, wide)}
            for name, wav in (("", made), ("_plain", plain)):
                for place, above_hz in (("", 0.0), ("_above", self.rates[0] / 2)):
                    row[f"log_spectral_distance{place}{name}"] = log_spectral_distance(
                        wav[:, 0].float(), wide[:, 0], self.rates[1], above_hz
                    )
            rows.append(row)
        return {name: sum(row[name].item() for row in rows) / len(rows) for name in (rows[0] if rows else {})}

    def preview(self, writer, step: int) -> None:
        """Some held-out pieces to hear and to see: input, output, truth."""
        for i, (small, wide, plain) in enumerate(self._pieces()[: self.config.previews]):
            made = self.modules["generator"](small).float()
            writer.add_audio(f"input/{i}", small[0], step, self.rates[0])
            for name, wav in (("output", made), ("truth", wide)):
                writer.add_audio(f"{name}/{i}", wav[0].clamp(-1, 1), step, self.rates[1])
            mel = self.mel.to(wide.device)
            pictures = [mel(wav[:, 0])[0].flip(0) for wav in (plain, made, wide)]  # low frequencies below
            picture = (torch.cat(pictures) + 7) / 12  # the floor of the mel is ln 0.001
            writer.add_image(f"input_output_truth/{i}", picture.clamp(0, 1), step, dataformats="HW")

    def _mel_distance(self, made: Tensor, wide: Tensor) -> Tensor:
        mel = self.mel.to(wide.device)
        return F.l1_loss(mel(made[:, 0]), mel(wide[:, 0]))

    def _pieces(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(narrow [1, 1, T], wide, narrow resampled) of the same pieces at every validation, on the generator's device."""
        if self.validation is None:
            return []
        device = next(self.modules["generator"].parameters()).device
        count = len(self.validation.recordings)
        n = min(self.config.validation_pieces, count)
        pieces = []
        for i in range(n):  # spread over the list, and so over its speakers
            small, wide = self.validation.held_out(i * count // n, self.config.validation_seconds)
            plain = resample(small, *self.rates)
            pieces.append(tuple(torch.from_numpy(wav)[None, None].to(device) for wav in (small, wide, plain)))
        return pieces


def check_losses(losses: dict[str, dict[str, float]]) -> set[str]:
    """The names of the generator's losses, which must be known ones and have the judges that they need."""
    names = set(losses.get("generator", {}))
    if not names or names - KNOWN:
        raise ValueError(f"losses.generator: expected some of {sorted(KNOWN)}, got {sorted(names)}")
    for judge, prefix in JUDGES.items():
        needing = sorted(names & {prefix + name for name in JUDGED})
        if bool(needing) != (judge in losses):
            raise ValueError(
                f"losses: {judge} and the generator's {prefix}adversarial or {prefix}features go together, "
                f"got {'a' if judge in losses else 'no'} {judge} and the losses {needing}"
            )
    return names
