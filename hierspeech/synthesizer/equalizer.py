"""Phone equalizer: a speaker's own colour of each phone, measured on the reference and given to what is spoken (ours, not the paper's).

A style vector of some hundred numbers says what a voice is like on the whole; how this speaker colours an /s/ or an /i/ is lost in
it. It can be measured: the reference is spoken again from its own features by the model, and what each band of the recording
has more or less than that copy is averaged over the frames of each phone, loud ones before quiet ones. As in speaker adaptation
by maximum a posteriori (Gauvain and Lee 1994) a phone heard for few frames counts as little more than the mean of all of them.
The differences then go onto the magnitudes of the generator's spectrum wherever those phones are spoken; what a copy made with
them still lacks is measured again. There is nothing to train. Of a noisy recording a band counts in each frame by how much of it
a denoiser leaves (`NoiseFree`): what it takes away is no voice, and where it takes much, what it leaves is hardly one either.

Shapes: B batch, N frames at 50 Hz, P phones, K bands, F bins of the generator's STFT. A *table* is [B, P * K], ln of power, and
stands behind the numbers of the style encoder in a style vector. Its first row, which belongs to silence, is another thing: the
mean power of each band of the recording (expander.py), 0 where that is not known. Tables of before the expander have
`silence` there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hierspeech.synthesizer.articulation import Articulation, ArticulationConfig
from hierspeech.synthesizer.band_filter import BandFilter
from hierspeech.synthesizer.expander import Expander, ExpanderConfig
from speech.spectrogram import AudioConfig, MelSpectrogram, mel_filterbank, short_windows

if TYPE_CHECKING:
    from hierspeech.synthesizer.model import HierSpeech

# of noisy recordings (docs/lite.md, experiment 44)
REMOVED = 0.6  # share of what a denoiser takes from a band that is taken from it here: a small one takes some speech too
DOUBT_FRAMES = 5.0  # a band trusted in that many frames gets half of its mean


@dataclass
class EqualizerConfig:
    """What is measured, and how far it is trusted; frames of `audio` are averaged to 50 Hz."""

    audio: AudioConfig = field(default_factory=short_windows)
    gain: float = 16.0  # on the wave: puts the mel's floor (0.001) below weak consonants
    bands: int = 40  # means of neighbouring mel bins
    phones: int = 40  # classes of the semantic encoder's classifier; the first one is silence
    sharpness: float = 1.4  # on the classifier's logits
    loudness: float = (
        0.25  # frames count by their power in a band to that power: what is quiet there may be noise
    )
    prior_frames: float = 2.5  # a phone heard for that many frames is half way between the mean and its own
    passes: int = (
        2  # copies of the reference that are compared with it, each made with what the ones before gave
    )
    limit: float = 3.0  # ln of power, largest change
    silence: float = -2.5  # ln of power that silence gets: pauses 11 dB quieter than the model speaks them
    articulation: ArticulationConfig = field(default_factory=ArticulationConfig)  # of converted recordings
    expander: ExpanderConfig = field(default_factory=ExpanderConfig)

    def __post_init__(self):
        if self.bands < 1 or self.audio.n_mels % self.bands:
            raise ValueError(
                f"equalizer.bands must divide audio.n_mels {self.audio.n_mels}, got {self.bands}"
            )
        if self.phones < 2 or self.prior_frames <= 0:
            raise ValueError(f"equalizer: expected phones of 2 or more and prior_frames above 0, got {self}")
        if self.passes < 1 or not 0 <= self.loudness <= 1:
            raise ValueError(f"equalizer: expected passes of 1 or more and a loudness of 0 to 1, got {self}")
        if not -self.limit <= self.silence <= 0:
            raise ValueError(f"equalizer.silence {self.silence:g}: expected {-self.limit:g} to 0")


@dataclass
class NoiseFree:
    """Recordings without their noise."""

    wav: Tensor  # [B, T], by a denoiser
    share: float  # how far it is believed, 0 to 1


class PhoneEqualizer(nn.Module):
    """Names the phones of frames, measures a table, and makes the gains of a table."""

    def __init__(self, config: EqualizerConfig, semantic_dim: int, n_fft: int) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(config.audio)
        most = min(config.articulation.bands, config.bands)
        bands = max(k for k in range(1, most + 1) if config.bands % k == 0)
        self.articulation = Articulation(config.articulation, bands, config.audio.n_mels)
        # the semantic encoder's classifier: a buffer, since no training moves it
        self.register_buffer("weight", torch.zeros(config.phones, semantic_dim))
        self.register_buffer("bias", torch.zeros(config.phones))
        bins = _bins_of_bands(config, n_fft)
        self.register_buffer("bins", bins, persistent=False)  # [F, K]
        self.expander = Expander(config.expander, bins, config.audio.sample_rate)
        fine = _bins_of_bands(config, config.audio.n_fft).unflatten(1, (bands, -1)).sum(2)
        self.filter = BandFilter(fine, config.audio.hop_length, config.limit)  # of the articulation

    def name_by(self, classifier: nn.Linear) -> None:
        """Takes the phones of the semantic encoder's classifier over."""
        if classifier.weight.shape != self.weight.shape:
            raise ValueError(
                f"the classifier has weights {list(classifier.weight.shape)}, the equalizer expected {list(self.weight.shape)}"
            )
        with torch.no_grad():
            self.weight.copy_(classifier.weight)
            self.bias.copy_(classifier.bias)

    def phones(self, semantic: Tensor) -> Tensor:
        """semantic [B, C, N] -> share of each phone in each frame [B, P, N]."""
        logits = torch.einsum("pc,bcn->bpn", self.weight, semantic.to(self.weight.dtype))
        return (self.config.sharpness * (logits + self.bias[:, None]).float()).softmax(1)

    def measure(
        self,
        semantic: Tensor,
        wav: Tensor,
        copy: Tensor,
        table: Tensor | None = None,
        cleaned: NoiseFree | None = None,
    ) -> Tensor:
        """The table [B, P * K] of recordings.

        Args:
            semantic: their features [B, C, N].
            wav: the recordings [B, T].
            copy: what the model spoke from the features [B, T].
            table: what `copy` was spoken with, if anything; what is measured now is added to it.
            cleaned: of noisy recordings, what a denoiser left.
        """
        shares = self.phones(semantic)  # [B, P, N]
        recording, spoken = self._bands(wav), self._bands(copy)  # [B, K, N]
        frames = min(shares.shape[-1], recording.shape[-1])
        shares, recording, spoken = shares[..., :frames], recording[..., :frames], spoken[..., :frames]
        sound, lost, doubt = 1 - shares[:, :1], None, 0.0
        if cleaned is not None:
            lost = cleaned.share * (self._bands(cleaned.wav)[..., :frames] - recording).clamp(
                max=0
            )  # ln of power
            recording, doubt = recording + REMOVED * lost, cleaned.share * DOUBT_FRAMES
        difference = recording - spoken
        weight = (self.config.loudness * (recording + spoken) / 2).exp()
        total = sound.sum(-1, keepdim=True).clamp(min=1e-6)
        weight = weight / ((weight * sound).sum(-1, keepdim=True) / total).clamp(min=1e-6)  # of mean 1
        if lost is not None:
            weight = weight * lost.exp()
            total = (weight * sound).sum(-1, keepdim=True)
        mean = (difference * weight * sound).sum(-1) / (total + doubt).clamp(min=1.0)[..., 0]  # [B, K]
        sums = torch.einsum("bpn,bkn->bpk", shares, weight * (difference - mean[..., None]))
        counts = torch.einsum("bpn,bkn->bpk", shares, weight)
        measured = mean[:, None] + sums / (counts + self.config.prior_frames)
        if table is not None:
            measured = measured + self._rows(table)
        level = self.expander.level(wav if cleaned is None else cleaned.wav)
        return torch.cat([level[:, None], measured[:, 1:]], 1).flatten(1)

    def forward(self, semantic: Tensor, table: Tensor) -> Tensor:
        """Features [B, C, N] and tables [B, P * K] -> what each band gets [B, K, N], ln of power."""
        rows = self._rows(table)
        silence = torch.where(rows[:, :1] > 0, self.config.silence, rows[:, :1])
        rows = torch.cat([silence, rows[:, 1:]], 1)
        return torch.einsum("bpn,bpk->bkn", self.phones(semantic), rows)

    def colour(self, log_magnitude: Tensor, bands: Tensor, table: Tensor | None) -> Tensor:
        """What the generator's spectrum becomes.

        Args:
            log_magnitude: [B, F, R * N], R of the generator's frames to one of features.
            bands: what each band gets [B, K, N], ln of power.
            table: [B, P * K], for what it says of the voice's level; None is a style without one.
        """
        rate = log_magnitude.shape[-1] // bands.shape[-1]
        log_magnitude = log_magnitude + self.log_gain(bands).repeat_interleave(rate, -1)
        if table is None:
            return log_magnitude
        return self.expander(log_magnitude, table[:, : self.config.bands].float())

    def moved(self, wav: Tensor, moves: Tensor, frame_mask: Tensor | None = None) -> Tensor:
        """What the generator's wave becomes.

        Args:
            wav: [B, 1, hop_length * N].
            moves: what `articulate` gave [B, 2 * K', N].
            frame_mask: [B, N] bool, True = valid; None if every frame is.
        """
        bands = moves.unflatten(1, (2, -1)).permute(0, 2, 3, 1).flatten(2)  # [B, K', 2N]
        mask = None if frame_mask is None else frame_mask.repeat_interleave(2, 1)
        return self.filter(wav[:, 0], bands, mask)[:, None]

    def articulate(self, semantic: Tensor, wav: Tensor, copy: Tensor, kept: float | None = None) -> Tensor:
        """What bands get besides, so that `copy` [B, T] moves as the recording wav [B, T] does.

        semantic: the recording's features [B, C, N], from which `copy` was spoken. kept: 0 to 1; None is the model's own share, by how much the voices differ.
        Returns: [B, 2 * K', N], ln of power: K' bands of the articulation in the first half of each frame, then in the second
        """
        shares = self.phones(semantic).repeat_interleave(2, -1)
        frames = shares.shape[-1]
        wav, copy = (self.mel(x.float() * self.config.gain)[..., :frames] for x in (wav, copy))
        bands = self.articulation(wav, copy, shares, kept)  # [B, K', 2N]
        return bands.unflatten(2, (-1, 2)).permute(0, 3, 1, 2).flatten(1, 2)

    def log_gain(self, bands: Tensor) -> Tensor:
        """What each band gets [B, K, N] -> ln of the gain on magnitudes [B, F, N]."""
        limit = self.config.limit
        return torch.einsum("fk,bkn->bfn", self.bins, bands.float()).clamp(-limit, limit) / 2

    def _rows(self, table: Tensor) -> Tensor:
        return table.float().unflatten(1, (-1, self.config.bands))

    def _bands(self, wav: Tensor) -> Tensor:
        return self._mel(wav).unflatten(1, (self.config.bands, -1)).mean(2)

    def _mel(self, wav: Tensor) -> Tensor:
        mel = self.mel(wav.float() * self.config.gain)
        return mel[..., : mel.shape[-1] // 2 * 2].unflatten(2, (-1, 2)).mean(3)


def measured(
    model: HierSpeech,
    style: Tensor,
    semantic: Tensor,
    log_f0: Tensor,
    wav: Tensor,
    cleaned: NoiseFree | None = None,
) -> Tensor:
    """The table [B, P * K] of recordings, for a synthesizer with an equalizer.

    Args:
        style: of the recordings, without a table [B, style.out].
        semantic, log_f0: of the same, as for `infer`, without details.
        wav: the recordings [B, hop_length * N].
        cleaned: of noisy recordings, what a denoiser left of them.
    """
    equalizer, table = model.equalizer, None
    latent = model.encode_latent(semantic, log_f0, style)
    features = None if model.source is None else model.excite(latent, style, log_f0)[0]
    for _ in range(equalizer.config.passes):
        z, whole = latent, style
        if table is not None:
            z = torch.cat([latent, equalizer(semantic, table).to(latent.dtype)], 1)
            whole = torch.cat([style, table.to(style.dtype)], 1)
        copy = model.sound(z, features, whole)
        table = equalizer.measure(semantic, wav, copy[:, 0], table, cleaned)
    return table


def articulated(
    model: HierSpeech,
    z: Tensor,
    style: Tensor,
    log_f0: Tensor,
    semantic: Tensor,
    wav: Tensor,
    kept: float | None = None,
) -> tuple[Tensor, Tensor]:
    """A recording's conversion that moves its bands as the recording does.

    Args:
        model: a synthesizer with an equalizer.
        z: what its `sample_latent` gave for `semantic`, `log_f0` and `style`; it is decoded once here.
        wav: the recording [B, hop_length * N].
        kept: as for `PhoneEqualizer.articulate`.

    Returns:
        The wave [B, 1, hop_length * N], and the latent of which `decode` makes the same.
    """
    equalizer = model.equalizer
    copy, _ = model.decode(z, style, log_f0)
    moves = equalizer.articulate(semantic, wav, copy[:, 0], kept).to(z.dtype)
    moved = equalizer.moved(copy, moves)
    if z.shape[1] == model.config.latent:  # no table: flat
        z = torch.cat([z, z.new_zeros(len(z), equalizer.config.bands, z.shape[2])], 1)
    return moved, torch.cat([z, moves], 1)


def _bins_of_bands(config: EqualizerConfig, n_fft: int) -> Tensor:
    """Weights of the bands in each bin of an STFT, [F, K], each row of sum 1."""
    shape = AudioConfig(
        sample_rate=config.audio.sample_rate, n_fft=n_fft, win_length=n_fft, n_mels=config.audio.n_mels,
        f_min=config.audio.f_min, f_max=config.audio.f_max,
    )  # fmt: skip
    bins = mel_filterbank(shape).unflatten(1, (config.bands, -1)).sum(2)
    total = bins.sum(1, keepdim=True)
    # bins below the first triangle and above the last one belong to the band beside them
    known = torch.nonzero(total[:, 0] > 1e-3)[:, 0]
    nearest = torch.arange(len(bins)).clamp(int(known[0]), int(known[-1]))
    return (bins / total.clamp(min=1e-3))[nearest]
