"""The inference parts of a voice as modules whose inputs and outputs are tensors alone, ready to be exported.

Text-to-vec is two graphs, since the length of the second one's output is what the first one finds out. Noise is an input, so
equal noise gives equal speech, whoever draws it.

Shapes: B batch, S phoneme ids, N frames at 50 Hz, T samples, C channels. Masks are bool, True = valid.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoiser import DENOISERS, SpectralDenoiser
from hierspeech.pipelines.voice import Voice, model_class
from hierspeech.synthesizer.equalizer import PhoneEqualizer
from hierspeech.synthesizer.model import HierSpeech
from speech.modules.alignment import expand
from speech.semantic.encoder import load_encoder
from speech.spectrogram import AudioConfig, MelSpectrogram
from speechsr import SPEECHSR_MODELS
from ttv import TTV, TTV_MODELS, AlignedTTV
from ttv.aligned import MIN_FRAMES
from ttv.melody import follow


@dataclass
class Part:
    """A module, an example of each input, and what its axes are called; an axis with a name may have any length."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    axes: dict[str, dict[int, str]]
    outputs: list[str]


class StyleEncoders(nn.Module):
    """wav [B, T] at the voice's rate, T of 2000 or more -> the two style vectors of a prompt, [B, C] each."""

    def __init__(self, audio: AudioConfig, ttv: nn.Module, synthesizer: HierSpeech):
        super().__init__()
        self.mel = MelSpectrogram(audio)
        self.ttv, self.synthesizer = ttv.style_encoder, synthesizer.style_encoder

    def forward(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        mel = self.mel(wav)
        return self.ttv(mel), self.synthesizer(mel)


class AlignedText(nn.Module):
    """The text side of an `AlignedTTV`: what `infer` does until it knows how long it will speak."""

    def __init__(self, model: AlignedTTV):
        super().__init__()
        self.model = model

    def forward(
        self,
        phoneme_ids: Tensor,
        text_mask: Tensor,
        style: Tensor,
        length_scale: Tensor,
        language_ids: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """ids [B, S], style [B, C], length_scale [] -> encoded [B, C, S], ends [B, S], of a model with a melody that and where
        the sounds are, [B, S] each, durations [B, S], n_frames [B]."""
        model = self.model
        encoded = model._encode(phoneme_ids, text_mask, style, language_ids)
        durations = torch.expm1(model._log_durations(encoded, text_mask, style)).clamp(min=0)
        durations = torch.where(model.sounds[phoneme_ids], durations.clamp(min=MIN_FRAMES), durations)
        durations = durations * length_scale * text_mask
        ends = durations.cumsum(1)
        melody = model.melody_of(phoneme_ids, durations, text_mask)
        sung = () if melody is None else (melody, model.sounds[phoneme_ids])
        rounded = ends.round()
        whole = (rounded - F.pad(rounded, (1, 0))[:, :-1]).long()
        return encoded, ends, *sung, whole, rounded[:, -1].long().clamp(min=1)


class AlignedFrames(nn.Module):
    """The frames' side of an `AlignedTTV`."""

    def __init__(self, model: AlignedTTV):
        super().__init__()
        self.model = model

    def forward(
        self,
        encoded: Tensor,
        ends: Tensor,
        frame_mask: Tensor,
        style: Tensor,
        pitch: Tensor,
        melody: Tensor | None = None,
        sounds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """encoded [B, C, S], ends [B, S], frame_mask [B, N], pitch [B, 2], of a model with a melody that and where the sounds are,
        [B, S] each -> semantic [B, C, N], log_f0 [B, 1, 4N]."""
        config = self.model.config
        semantic, contour, voiced = self.model._decode(encoded, ends, frame_mask, style)
        if melody is not None and sounds is not None:
            contour = follow(contour, melody, ends, sounds, frame_mask)
        log_f0 = pitch[:, :1] + pitch[:, 1:] * config.pitch_range * contour.clamp(-3.5, 3.5)
        log_f0 = torch.log1p(log_f0.exp().clamp(40.0, 1100.0))
        on = (voiced.sigmoid() > config.voiced_threshold) & frame_mask.repeat_interleave(4, 1)
        return semantic, (log_f0 * on)[:, None]


class VariationalText(nn.Module):
    """The text side of a `TTV`."""

    def __init__(self, model: TTV):
        super().__init__()
        self.model = model

    def forward(
        self,
        phoneme_ids: Tensor,
        text_mask: Tensor,
        style: Tensor,
        length_scale: Tensor,
        duration_noise: Tensor,
        language_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ids [B, S], duration_noise [B, 2, S] -> mean, log_std [B, C, S], durations [B, S], n_frames [B]."""
        mask = text_mask[:, None]
        encoded, prior = self.model.text_encoder(phoneme_ids, mask, style, language_ids)
        log_durations = self.model.duration_predictor.infer(encoded, mask, style, duration_noise)
        durations = torch.ceil(log_durations.exp() * text_mask * length_scale).long()
        return prior.mean, prior.log_std, durations, durations.sum(1).clamp(min=1)


class VariationalFrames(nn.Module):
    """The frames' side of a `TTV`."""

    def __init__(self, model: TTV):
        super().__init__()
        self.model = model

    def forward(
        self,
        mean: Tensor,
        log_std: Tensor,
        durations: Tensor,
        frame_mask: Tensor,
        style: Tensor,
        noise: Tensor,
        noise_scale: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """mean, log_std [B, C, S], durations [B, S], noise [B, C, N] -> semantic [B, C', N], log_f0 [B, 1, 4N]."""
        model, n_frames, mask = self.model, noise.shape[2], frame_mask[:, None]
        z = (
            expand(mean, durations, n_frames)
            + noise * expand(log_std, durations, n_frames).exp() * noise_scale
        )
        semantic = model.semantic_decoder(model.flow.inverse(z * mask, mask, style), mask, style)
        return semantic, model.pitch_predictor(semantic, style, mask)


class Synthesizer(nn.Module):
    """Prior, flows, source and generator: what `HierSpeech.infer` does, noise given."""

    def __init__(self, model: HierSpeech):
        super().__init__()
        self.model = model

    def forward(
        self,
        semantic: Tensor,
        log_f0: Tensor,
        style: Tensor,
        frame_mask: Tensor,
        noise: Tensor,
        noise_scale: Tensor,
    ) -> Tensor:
        """semantic [B, C, N], log_f0 [B, 1, 4N], style [B, C'], noise [B, latent, N] -> wav [B, 1, T]."""
        (z,) = self.model.latent_of(semantic, log_f0, style, frame_mask, noise * noise_scale)
        return self.model.decode(z, style, log_f0, frame_mask)[0]


class SuperResolution(nn.Module):
    """Any of `SPEECHSR_MODELS`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, wav: Tensor) -> Tensor:
        """wav [B, 1, T] -> [B, 1, T * scale] in [-1, 1]; for a scale of 1.5, T must be even."""
        return self.model(wav).clamp(-1, 1)


class Cleaning(nn.Module):
    """What `SpectralDenoiser.infer` does to whole frames of levelled speech."""

    def __init__(self, model: SpectralDenoiser):
        super().__init__()
        self.model = model

    def forward(self, wav: Tensor) -> Tensor:
        """wav [B, T] at an RMS of 1, T a multiple of hop_length and over n_fft -> clean wav [B, T]."""
        out = self.model(*self.model.analyse(wav))
        return self.model.synthesise(out.magnitude, out.phase, wav.shape[-1])


class SemanticFeatures(nn.Module):
    """Any semantic encoder, and what the synthesizer adds to its features of recordings."""

    def __init__(self, model: nn.Module, synthesizer: HierSpeech):
        super().__init__()
        self.model = model
        self.detail = synthesizer.detail_encoder

    def forward(self, wav: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """wav [B, T] at 16 kHz -> semantic [B, C, T // 320], and the same without details where a synthesizer adds any."""
        semantic = self.model(wav)
        return semantic if self.detail is None else (semantic + self.detail(wav), semantic)


class Colours(nn.Module):
    """The equalizer's table of a recording."""

    def __init__(self, equalizer: PhoneEqualizer):
        super().__init__()
        self.equalizer = equalizer

    def forward(self, plain: Tensor, wav: Tensor, copy: Tensor, table: Tensor) -> Tensor:
        """plain [B, C, N], wav and its copy by the synthesizer, made with `table`, [B, T] -> table [B, P * K]."""
        return self.equalizer.measure(plain, wav, copy, table)


def parts_of(voice: Voice) -> Iterator[Part]:
    """The parts of a voice, one after the other; models come from the voice's folder as plain modules, in eval mode."""
    description, folder = voice.description, voice.folder
    path = folder / description.ttv
    ttv = model_class(path, TTV_MODELS).from_pretrained(path)
    synthesizer = HierSpeech.from_pretrained(folder / description.synthesizer)
    batch = {0: "batch"}
    wav = 0.1 * torch.randn(2, 8000)
    yield Part("style", StyleEncoders(voice.audio, ttv, synthesizer), {"wav": wav}, {"wav": batch | {1: "samples"}},
               ["ttv_style", "synthesizer_style"])  # fmt: skip
    yield from _text_to_vec(ttv)
    yield _synthesizer(synthesizer)
    for rate, name in description.speechsr.items():
        model = model_class(folder / name, SPEECHSR_MODELS).from_pretrained(folder / name)
        if model.output_rate != int(rate):  # one model by frames may serve two rates
            model = model.at_rate(int(rate))
        inputs = {"wav": wav[:, None, :3334]}
        yield Part(
            f"speechsr_{rate}", SuperResolution(model), inputs, {"wav": batch | {2: "samples"}}, ["wav_up"]
        )
    if description.denoiser is not None:
        path = folder / description.denoiser
        model = model_class(path, DENOISERS).from_pretrained(path)
        inputs = {"wav": 10 * wav[:, : 20 * model.config.hop_length]}
        yield Part("denoiser", Cleaning(model), inputs, {"wav": batch | {1: "samples"}}, ["clean"])
    if (folder / description.semantic_encoder).is_dir():  # imported voices have none until one is added
        model = load_encoder(voice.semantic, folder / description.semantic_encoder, torch.device("cpu"))
        axes = {"wav": batch | {1: "samples"}}
        made = ["semantic"] if synthesizer.detail_encoder is None else ["semantic", "plain"]
        yield Part("semantic_encoder", SemanticFeatures(model, synthesizer), {"wav": wav}, axes, made)
    if synthesizer.equalizer is not None and (folder / description.semantic_encoder).is_dir():
        plain = torch.randn(2, synthesizer.config.semantic.dim, wav.shape[1] // voice.audio.hop_length)
        config = synthesizer.config
        table = torch.randn(2, config.style_size - config.style_config.out)
        inputs = {"plain": plain, "wav": wav, "copy": 0.5 * wav, "table": table}
        samples = batch | {1: "samples"}
        axes = {"plain": batch | {2: "frames"}, "wav": samples, "copy": samples, "table": batch}
        yield Part("equalizer", Colours(synthesizer.equalizer), inputs, axes, ["measured"])


def _text_to_vec(model: nn.Module) -> Iterator[Part]:
    config, n_ids, n_frames = model.config, 11, 23
    per_id, per_frame, batch = {0: "batch", 1: "ids"}, {0: "batch", 1: "frames"}, {0: "batch"}
    text_mask = torch.ones(2, n_ids, dtype=torch.bool)
    text_mask[1, 9:] = False
    frame_mask = torch.ones(2, n_frames, dtype=torch.bool)
    style = torch.randn(2, config.style.out)
    text = {"phoneme_ids": torch.randint(1, 30, (2, n_ids)), "text_mask": text_mask, "style": style}
    text["length_scale"] = torch.tensor(1.0)
    axes = {"phoneme_ids": per_id, "text_mask": per_id, "style": batch}
    if isinstance(model, AlignedTTV):
        width = config.width
        frames = {"encoded": torch.randn(2, width, n_ids), "ends": 2.0 * torch.ones(2, n_ids).cumsum(1)}
        frames |= {"frame_mask": frame_mask, "style": style, "pitch": torch.tensor([[5.0, 0.2], [4.8, 0.3]])}
        frame_axes = {"encoded": {0: "batch", 2: "ids"}, "ends": per_id, "pitch": batch}
        modules, made = (AlignedText(model), AlignedFrames(model)), ["encoded", "ends"]
        if model.melody is not None:
            frames |= {"melody": torch.randn(2, n_ids), "sounds": torch.ones(2, n_ids, dtype=torch.bool)}
            frame_axes |= {"melody": per_id, "sounds": per_id}
            made += ["melody", "sounds"]
    else:
        hidden = config.hidden
        text["duration_noise"] = torch.randn(2, 2, n_ids)
        axes["duration_noise"] = {0: "batch", 2: "ids"}
        frames = {"mean": torch.randn(2, hidden, n_ids), "log_std": torch.randn(2, hidden, n_ids)}
        frames |= {"durations": torch.full((2, n_ids), 2), "frame_mask": frame_mask, "style": style}
        frames |= {"noise": torch.randn(2, hidden, n_frames), "noise_scale": torch.tensor(0.3)}
        frame_axes = {name: {0: "batch", 2: "ids"} for name in ("mean", "log_std")} | {"durations": per_id}
        frame_axes |= {"noise": {0: "batch", 2: "frames"}}
        modules, made = (VariationalText(model), VariationalFrames(model)), ["mean", "log_std"]
    if config.languages:
        text["language_ids"] = torch.zeros(2, n_ids, dtype=torch.int64)
        axes["language_ids"] = per_id
    frame_axes |= {"frame_mask": per_frame, "style": batch}
    yield Part("ttv_text", modules[0], text, axes, [*made, "durations", "n_frames"])
    yield Part("ttv_frames", modules[1], frames, frame_axes, ["semantic", "log_f0"])


def _synthesizer(model: HierSpeech) -> Part:
    config, n_frames = model.config, 23
    frame_mask = torch.ones(2, n_frames, dtype=torch.bool)
    frame_mask[1, 19:] = False
    inputs = {
        "semantic": torch.randn(2, config.semantic.dim, n_frames),
        "log_f0": torch.full((2, 1, 4 * n_frames), 5.0),
        "style": torch.randn(2, config.style_size),
        "frame_mask": frame_mask,
        "noise": torch.randn(2, config.latent, n_frames),
        "noise_scale": torch.tensor(0.3),
    }
    frames = {0: "batch", 2: "frames"}
    axes = {"semantic": frames, "log_f0": {0: "batch", 2: "f0_frames"}, "style": {0: "batch"}}
    axes |= {"frame_mask": {0: "batch", 1: "frames"}, "noise": frames}
    return Part("synthesizer", Synthesizer(model), inputs, axes, ["wav"])
