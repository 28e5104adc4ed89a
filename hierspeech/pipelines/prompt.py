"""A voice prompt: what the models keep of a reference recording (two style vectors and the range of its pitch).

Shapes: T samples, M mel bins, N frames at 50 Hz, C style channels.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hierspeech.pipelines.arguments import AUTO, SHARES, check_denoise_ratio, check_range
from hierspeech.pipelines.bandwidth import fill_bands, occupied_band
from hierspeech.pipelines.cleaning import needed_cleaning
from hierspeech.pipelines.recording import prepare_reference
from hierspeech.pipelines.remote import fetch, is_url
from hierspeech.pipelines.voice import Voice
from hierspeech.pipelines.voice_pitch import pitch_range
from hierspeech.synthesizer.encoders import F0_PER_FRAME
from hierspeech.synthesizer.equalizer import NoiseFree
from speech.audio import AudioError
from speech.f0 import extract_f0
from speech.spectrogram import MelSpectrogram

# How far up a pitch is searched, by the voice's `recordings`: above the range of reading voices, since children and
# lively speech convert too; the published pipeline searches higher still.
F0_MAX_HZ = {"levelled": 500.0, "as_recorded": 1100.0}
DENOISER_UNIT = (
    1600  # samples; the published pipeline pads to a whole number of frames of mel and of denoiser
)


@dataclass
class VoicePrompt:
    """One speaker as a voice's models hear them; made once, used for any text, saved as safetensors.

    `log_f0_mean` and `log_f0_std` describe ln(F0 in Hz) over the voiced frames; both are 0 where nothing is voiced.
    `peak` is the highest sample of the recording, which the output level "prompt" gives back; None where it is not known.
    """

    ttv_style: torch.Tensor  # [1, C]
    synthesizer_style: torch.Tensor  # [1, C]
    log_f0_mean: float
    log_f0_std: float
    voice: str  # name and version of the voice that made it, e.g. "lite-1"
    peak: float | None = None

    @property
    def has_pitch(self) -> bool:
        """Whether the recording had enough voiced sound to know its pitch."""
        return self.log_f0_mean > 0

    @classmethod
    def from_audio(
        cls,
        reference: str | os.PathLike | np.ndarray,
        voice: Voice,
        sample_rate: int | None = None,
        denoise_ratio: float | str | None = None,
    ) -> "VoicePrompt":
        """Listens to a recording.

        Args:
            reference: a sound file, or samples [T] in [-1, 1].
            voice: the voice whose style encoders listen.
            sample_rate: rate of `reference` in Hz if it is an array (default: the voice's own).
            denoise_ratio: share of the cleaned recording in the style, 0 to 1, or "auto": by how noisy or reverberant it is
                (cleaning.py); None is the voice's default.
        Raises:
            ValueError: not readable, not finite, silent (peak under -60 dB), or under 0.5 s of sound; a denoise ratio
                outside its range, or above 0 where the voice has no denoiser.
        """
        ratio = pick_denoise_ratio(denoise_ratio, voice)
        wav, f0, peak = hear(reference, voice, sample_rate)
        mean, std = pitch_range(f0, voice.description.recordings)
        if ratio == AUTO:
            ratio, cleaned = needed_cleaning(wav, voice.sample_rate, lambda noisy: clean(noisy, voice))
        else:
            cleaned = clean(wav, voice) if ratio > 0 else None
        rows = [wav] if cleaned is None else [wav, cleaned]
        with torch.inference_mode():
            mel = MelSpectrogram(voice.audio)(torch.from_numpy(np.stack(rows))).to(
                voice.device
            )  # [1 or 2, M, N]
            ttv_style = mix(voice.ttv.style_encoder(mel).float().cpu(), ratio)
            style = mix(voice.synthesizer.style_encoder(mel).float(), ratio)
            synthesizer_style = equalized(style, np.stack(rows), f0, voice, ratio).cpu()
        return cls(ttv_style.clone(), synthesizer_style.clone(), mean, std, prompt_tag(voice), peak)

    @classmethod
    def average(
        cls, prompts: "Sequence[VoicePrompt]", weights: Sequence[float] | None = None
    ) -> "VoicePrompt":
        """One prompt of several: of one speaker, whose recordings then count together, or of several, whose voices mix.

        Args:
            prompts: made with the same voice, at least one.
            weights: how much each counts, none negative and not all 0 (default: all the same).
        Raises:
            ValueError: no prompt, prompts of different voices, or other weights.
        """
        prompts = list(prompts)
        if not prompts:
            raise ValueError("no voice prompts to average: expected at least one.")
        if (
            len(
                {(prompt.voice, prompt.ttv_style.shape, prompt.synthesizer_style.shape) for prompt in prompts}
            )
            > 1
        ):
            voices = ", ".join(dict.fromkeys(prompt.voice for prompt in prompts))
            raise ValueError(f"voice prompts of {voices}: expected prompts of one voice to average.")
        wanted = [1.0] * len(prompts) if weights is None else [float(weight) for weight in weights]
        usable = all(math.isfinite(weight) and weight >= 0 for weight in wanted) and sum(wanted) > 0
        if len(wanted) != len(prompts) or not usable:
            raise ValueError(
                f"weights {wanted} of {len(prompts)} prompts: expected one for each, none negative, not all 0."
            )
        parts = [(prompt, weight) for prompt, weight in zip(prompts, wanted, strict=True) if weight > 0]

        def mean(pairs: list[tuple[Any, float]]) -> Any:
            total = sum(weight for _, weight in pairs)
            return sum((weight / total) * value for value, weight in pairs)

        voiced = [(p, weight) for p, weight in parts if p.has_pitch]
        peaks = [(p.peak, weight) for p, weight in parts if p.peak is not None]
        return cls(
            mean([(p.ttv_style, weight) for p, weight in parts]),
            mean([(p.synthesizer_style, weight) for p, weight in parts]),
            mean([(p.log_f0_mean, weight) for p, weight in voiced]) if voiced else 0.0,
            mean([(p.log_f0_std, weight) for p, weight in voiced]) if voiced else 0.0,
            prompts[0].voice,
            mean(peaks) if len(peaks) == len(parts) else None,
        )

    @classmethod
    def mix(cls, first: "VoicePrompt", second: "VoicePrompt", share: float) -> "VoicePrompt":
        """A voice between two: `share` of the second, 0 to 1."""
        check_range("mix", share, SHARES)
        return cls.average([first, second], [1.0 - share, share])

    def save(self, path: str | os.PathLike) -> None:
        """Writes the prompt as safetensors; the file appears whole or not at all."""
        from safetensors.torch import save_file

        path = Path(path)
        tensors = {"ttv_style": self.ttv_style, "synthesizer_style": self.synthesizer_style}
        metadata = {
            "voice": self.voice,
            "log_f0": json.dumps([self.log_f0_mean, self.log_f0_std]),
        } | ({} if self.peak is None else {"peak": json.dumps(self.peak)})
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "VoicePrompt":
        """Reads a saved prompt; ValueError if the file is not one."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                mean, std = json.loads(metadata["log_f0"])
                styles = [file.get_tensor(name).float() for name in ("ttv_style", "synthesizer_style")]
                peak = float(json.loads(metadata["peak"])) if "peak" in metadata else None
                prompt = cls(*styles, float(mean), float(std), metadata["voice"], peak)
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: not a saved voice prompt ({error}).") from error
        numbers = [
            *styles,
            torch.tensor([prompt.log_f0_mean, prompt.log_f0_std, 1.0 if peak is None else peak]),
        ]
        if not all(style.ndim == 2 and len(style) == 1 for style in styles) or not all(
            x.isfinite().all() for x in numbers
        ):
            raise ValueError(f"{path}: not a saved voice prompt (expected finite styles of shape [1, C]).")
        if peak is not None and peak <= 0:
            raise ValueError(f"{path}: not a saved voice prompt (expected a positive peak, got {peak:g}).")
        return prompt


OneReference = VoicePrompt | np.ndarray | str | os.PathLike
Reference = OneReference | Sequence[OneReference] | None  # whatever `as_prompt` takes


def as_prompt(
    reference: Reference,
    voice: Voice,
    sample_rate: int | None = None,
    denoise_ratio: float | str | None = None,
) -> VoicePrompt:
    """Turns any reference into a prompt of `voice`: a prompt, samples, a sound file or its URL, a saved prompt, a shipped name.

    An existing file goes before a shipped prompt of the same name. None is the voice's first shipped prompt. A prompt
    that is one already cannot be denoised any more. Of a list of references the average is taken.
    """
    pick_denoise_ratio(denoise_ratio, voice)
    if isinstance(reference, list | tuple):
        if not reference:
            raise ValueError("the list of references is empty, expected at least one.")
        return VoicePrompt.average([as_prompt(one, voice, sample_rate, denoise_ratio) for one in reference])
    if isinstance(reference, np.ndarray):
        return VoicePrompt.from_audio(reference, voice, sample_rate, denoise_ratio)
    prompt = reference if isinstance(reference, VoicePrompt) else None
    if prompt is None:
        path = find_reference(reference, voice)
        if path.suffix != ".safetensors":
            return VoicePrompt.from_audio(path, voice, denoise_ratio=denoise_ratio)
        prompt = VoicePrompt.load(path)
    if denoise_ratio and denoise_ratio not in (AUTO, voice.description.denoise_ratio):
        raise ValueError(
            f"denoise ratio {denoise_ratio:g}: a saved prompt holds no recording to clean, expected 0 or a recording."
        )
    if prompt.voice != prompt_tag(voice):
        raise ValueError(
            f"the prompt was made with the voice {prompt.voice!r}, but this voice is {prompt_tag(voice)!r}."
        )
    sizes = [style.shape[1] for style in (prompt.ttv_style, prompt.synthesizer_style)]
    if sizes != voice.style_sizes:  # another voice of the same name
        raise ValueError(
            f"the prompt has styles of {sizes} numbers, but the voice {prompt_tag(voice)!r} has {voice.style_sizes}."
        )
    return prompt


def adapt_prompt(
    prompt: VoicePrompt,
    reference: Reference,
    voice: Voice,
    steps: int,
    sample_rate: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VoicePrompt:
    """The prompt brought nearer to the one recording that it was made of; ValueError where the reference is no recording."""
    if steps == 0:
        return prompt
    from hierspeech.pipelines.adaptation import adapt  # few prompts need it

    if isinstance(reference, str | os.PathLike):
        reference = find_reference(reference, voice)
    saved = isinstance(reference, Path) and reference.suffix == ".safetensors"
    if saved or not isinstance(reference, np.ndarray | Path):
        raise ValueError(
            f"adaptation steps {steps}: a saved prompt, or several references, cannot be adapted; expected one recording."
        )
    return adapt(prompt, reference, voice, steps, sample_rate, progress)


def find_reference(reference: str | os.PathLike | None, voice: Voice) -> Path:
    """The file behind a path, a URL, a shipped prompt's name, or None (the first shipped prompt)."""
    shipped = voice.description.prompts
    if reference is None:
        if not shipped:
            raise ValueError(
                f"the voice {voice.description.name!r} has no saved prompts: expected a reference recording."
            )
        reference = shipped[0]
    elif is_url(reference):
        return fetch(reference)
    elif Path(reference).exists():
        return Path(reference)
    if str(reference) in shipped:
        return voice.folder / "prompts" / f"{reference}.safetensors"
    raise AudioError(
        f"{reference}: no such sound file, nor a saved prompt of the voice ({', '.join(shipped) or 'none'})."
    )


def prompt_tag(voice: Voice) -> str:
    """What a prompt remembers of its voice: prompts of another training are noise to this one."""
    return f"{voice.description.name}-{voice.description.version}"


def pick_denoise_ratio(denoise_ratio: float | str | None, voice: Voice) -> float | str:
    """The ratio asked for, or the voice's default for None; ValueError where the voice cannot do it."""
    ratio = voice.description.denoise_ratio if denoise_ratio is None else denoise_ratio
    check_denoise_ratio(ratio)
    if ratio != 0 and voice.description.denoiser is None:
        raise ValueError(
            f"denoise ratio {ratio}: the voice {voice.description.name!r} has no denoiser, expected 0."
        )
    return ratio


def hear(
    reference: str | os.PathLike | np.ndarray, voice: Voice, sample_rate: int | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """A recording as the style encoders hear it [T], its pitch [F] in Hz, and its peak; arguments as for `VoicePrompt.from_audio`."""
    recordings = voice.description.recordings
    wav, peak = prepare_reference(reference, voice.sample_rate, sample_rate, recordings)
    # Pitch is that of the recording itself: a denoiser that swallows a syllable would move it.
    f0 = extract_f0(wav, voice.sample_rate, f0_max=F0_MAX_HZ[recordings])
    return widened(wav, f0, voice), f0, peak


def widened(wav: np.ndarray, f0: np.ndarray, voice: Voice) -> np.ndarray:
    """wav [T] of a narrow band -> with what the average of the voice's prompts has beyond; others stay as they are."""
    names = voice.description.prompts
    # a voice that hears recordings "as_recorded" has its own way with them
    if not names or not voice.hears or voice.description.recordings != "levelled":
        return wav
    low, high = occupied_band(wav, voice.sample_rate)
    if low == 0 and high >= voice.sample_rate / 2:
        return wav
    prompts = [VoicePrompt.load(voice.folder / "prompts" / f"{name}.safetensors") for name in names]
    style = VoicePrompt.average(prompts).synthesizer_style.to(voice.device)
    samples = whole_frames(wav, voice)
    with torch.inference_mode():
        semantic = voice.semantic_encoder(torch.from_numpy(wav[None, :samples]).to(voice.device)).float()
        copy = voice.synthesizer.infer(semantic, model_pitch(f0, wav, voice), style, noise_scale=0.0)
    copy = np.pad(copy[0, 0].float().cpu().numpy(), (0, len(wav) - samples))
    return fill_bands(wav, copy, low, high, voice.sample_rate)


def clean(wav: np.ndarray, voice: Voice) -> np.ndarray:
    """wav [T] at the voice's rate without its noise, by the voice's denoiser -> [T]."""
    from denoiser.windows import denoise  # most references are clean enough, most voices need no denoiser

    padded = np.pad(wav, (0, DENOISER_UNIT - len(wav) % DENOISER_UNIT))
    return denoise(voice.denoiser, torch.from_numpy(padded)).numpy()[: len(wav)]


def mix(styles: torch.Tensor, ratio: float) -> torch.Tensor:
    """Styles of the recording and of its cleaned copy [2, C], or of the recording alone [1, C] -> their mixture [1, C]."""
    return styles if len(styles) == 1 else (1 - ratio) * styles[:1] + ratio * styles[1:]


def equalized(
    style: torch.Tensor, wavs: np.ndarray, f0: np.ndarray, voice: Voice, ratio: float = 0.0
) -> torch.Tensor:
    """The style [1, C] of a recording -> with its table, for a synthesizer that wants one.

    wavs: the recording, and its cleaned copy where there is one, [1 or 2, T]. f0: its pitch [F] in Hz. ratio: of denoising.
    """
    synthesizer = voice.synthesizer
    if synthesizer.config.equalizer is None:
        return style
    if not voice.hears:  # a voice whose encoder is gone still speaks, without colours
        return torch.nn.functional.pad(style, (0, synthesizer.config.style_size - style.shape[1]))
    heard = torch.from_numpy(wavs[:, : whole_frames(wavs, voice)]).to(voice.device)
    wav, cleaned = heard[:1], NoiseFree(heard[1:], ratio) if len(heard) > 1 else None
    semantic = voice.semantic_encoder(heard[-1:]).float()
    return synthesizer.with_table(style, semantic, model_pitch(f0, wavs, voice), wav, cleaned)


def whole_frames(wavs: np.ndarray, voice: Voice) -> int:
    """Samples of the whole frames in wavs [..., T]."""
    return wavs.shape[-1] // voice.audio.hop_length * voice.audio.hop_length


def model_pitch(f0: np.ndarray, wavs: np.ndarray, voice: Voice) -> torch.Tensor:
    """Pitch [F] in Hz of wavs [..., T] -> log(F0 + 1) [1, 1, 4N] of its whole frames."""
    log_f0 = torch.zeros(1, 1, F0_PER_FRAME * (whole_frames(wavs, voice) // voice.audio.hop_length))
    known = f0[: log_f0.shape[-1]]
    log_f0[0, 0, : len(known)] = torch.from_numpy(np.log1p(known))
    return log_f0.to(voice.device)
