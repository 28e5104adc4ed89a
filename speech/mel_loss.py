"""Distance of two waves' log-mel spectrograms at one or several resolutions (HiFi-GAN's mel loss; section 9 of the hand-over)."""

from torch import Tensor, nn
from torch.nn import functional as F

from speech.spectrogram import AudioConfig, MelSpectrogram


class MelLoss(nn.Module):
    """Mean absolute difference of log-mels, averaged over the spectrograms.

    Args:
        mels: the spectrograms to compare in, such as the model's own or `mels_of_sizes`.
    """

    def __init__(self, mels: list[MelSpectrogram]):
        super().__init__()
        self.mels = nn.ModuleList(mels)

    def forward(self, wav: Tensor, wav_hat: Tensor) -> Tensor:
        """wav and wav_hat [B, T] in [-1, 1] -> scalar, natural log."""
        return sum(F.l1_loss(mel(wav_hat), mel(wav)) for mel in self.mels) / len(self.mels)

    def distances(self, wav: Tensor, wav_hat: Tensor) -> tuple[Tensor, Tensor]:
        """wav and wav_hat [B, T] -> the same scalar, and the norm of the difference of magnitudes over their norm.

        The first counts what is faint as much as what is loud, and its best guess at what cannot be known is a median: too
        quiet in vowels. The second, in which they weigh most, asks for a mean.
        """
        logs, magnitudes = [], []
        for mel in self.mels:
            log, log_hat = mel(wav), mel(wav_hat)  # [B, M, N]
            logs.append(F.l1_loss(log_hat, log))
            magnitude = (log / 2).exp()
            difference = ((log_hat / 2).exp() - magnitude).square().mean((1, 2)).add(1e-8).sqrt()
            magnitudes.append((difference / magnitude.square().mean((1, 2)).sqrt()).mean())
        return sum(logs) / len(logs), sum(magnitudes) / len(magnitudes)


def mels_of_sizes(sizes: list[int]) -> list[MelSpectrogram]:
    """One mel for each STFT size in samples of 16 kHz; a quarter of it is the hop, a twelfth the bins, 20 at least."""
    return [
        MelSpectrogram(
            AudioConfig(n_fft=size, win_length=size, hop_length=size // 4, n_mels=max(20, size // 12))
        )
        for size in sizes
    ]
