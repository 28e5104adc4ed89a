"""A voice prompt: what the models keep of a reference recording (two style vectors and the range of its pitch).

Shapes: T samples, M mel bins, N frames at 50 Hz, C style channels.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hierspeech.pipelines.voice import Voice
from speech.audio import AudioError, load_audio, resample, set_loudness, trim_silence
from speech.f0 import extract_f0
from speech.spectrogram import MelSpectrogram

MIN_SECONDS = 0.5  # of sound, silence at both ends not counted; 3 s and more give a good likeness
MAX_SECONDS = 30.0  # more of a reference than this is not listened to, so that memory is bounded
READ_SECONDS = 300.0  # a file is searched for sound this far from its start
SILENCE_PEAK = 1e-3  # -60 dB re full scale; below, a recording is refused
FLOOR_DB = -80.0  # RMS under which nothing is sound, so that faint recordings are not trimmed away
RMS_DB = -23.0  # level of the recordings that models are trained on
MARGIN_MS = 200.0  # of silence kept around the sound, as in training
F0_MAX_HZ = 500.0  # above the search range of reading voices: children and lively speech convert too
MIN_VOICED_FRAMES = 10  # fewer (50 ms) say nothing of the pitch of a voice


@dataclass
class VoicePrompt:
    """One speaker as a voice's models hear them; made once, used for any text, saved as safetensors.

    `log_f0_mean` and `log_f0_std` describe ln(F0 in Hz) over the voiced frames; both are 0 where nothing is voiced.
    """

    ttv_style: torch.Tensor  # [1, C]
    synthesizer_style: torch.Tensor  # [1, C]
    log_f0_mean: float
    log_f0_std: float
    voice: str  # name and version of the voice that made it, e.g. "lite-1"

    @property
    def has_pitch(self) -> bool:
        """Whether the recording had enough voiced sound to know its pitch."""
        return self.log_f0_mean > 0

    @classmethod
    def from_audio(
        cls, reference: str | os.PathLike | np.ndarray, voice: Voice, sample_rate: int | None = None
    ) -> "VoicePrompt":
        """Listens to a recording.

        Args:
            reference: a sound file, or samples [T] in [-1, 1].
            voice: the voice whose style encoders listen.
            sample_rate: rate of `reference` in Hz if it is an array (default: the voice's own).
        Raises:
            ValueError: not readable, not finite, silent (peak under -60 dB), or under 0.5 s of sound.
        """
        wav = prepare_recording(reference, voice.sample_rate, sample_rate)
        f0 = extract_f0(wav, voice.sample_rate, f0_max=F0_MAX_HZ)
        mean, std = pitch_range(f0)
        with torch.inference_mode():
            mel = MelSpectrogram(voice.audio)(torch.from_numpy(wav)[None]).to(voice.device)  # [1, M, N]
            ttv_style = voice.ttv.style_encoder(mel).float().cpu()
            synthesizer_style = voice.synthesizer.style_encoder(mel).float().cpu()
        return cls(ttv_style.clone(), synthesizer_style.clone(), mean, std, prompt_tag(voice))

    def save(self, path: str | os.PathLike) -> None:
        """Writes the prompt as safetensors; the file appears whole or not at all."""
        from safetensors.torch import save_file

        path = Path(path)
        tensors = {"ttv_style": self.ttv_style, "synthesizer_style": self.synthesizer_style}
        metadata = {"voice": self.voice, "log_f0": json.dumps([self.log_f0_mean, self.log_f0_std])}
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
                prompt = cls(*styles, float(mean), float(std), metadata["voice"])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: not a saved voice prompt ({error}).") from error
        numbers = [*styles, torch.tensor([prompt.log_f0_mean, prompt.log_f0_std])]
        if not all(style.ndim == 2 and len(style) == 1 for style in styles) or not all(
            x.isfinite().all() for x in numbers
        ):
            raise ValueError(f"{path}: not a saved voice prompt (expected finite styles of shape [1, C]).")
        return prompt


Reference = VoicePrompt | np.ndarray | str | os.PathLike | None  # whatever `as_prompt` takes


def as_prompt(reference: Reference, voice: Voice, sample_rate: int | None = None) -> VoicePrompt:
    """Turns any reference into a prompt of `voice`: a prompt, samples, a sound file, a saved prompt, a shipped name.

    An existing file goes before a shipped prompt of the same name. None is the voice's first shipped prompt.
    """
    if isinstance(reference, np.ndarray):
        return VoicePrompt.from_audio(reference, voice, sample_rate)
    prompt = reference if isinstance(reference, VoicePrompt) else None
    if prompt is None:
        path = find_reference(reference, voice)
        if path.suffix != ".safetensors":
            return VoicePrompt.from_audio(path, voice)
        prompt = VoicePrompt.load(path)
    if prompt.voice != prompt_tag(voice):
        raise ValueError(
            f"the prompt was made with the voice {prompt.voice!r}, but this voice is {prompt_tag(voice)!r}."
        )
    return prompt


def find_reference(reference: str | os.PathLike | None, voice: Voice) -> Path:
    """The file behind a path, a shipped prompt's name, or None (the first shipped prompt)."""
    shipped = voice.description.prompts
    if reference is None:
        if not shipped:
            raise ValueError(
                f"the voice {voice.description.name!r} has no saved prompts: expected a reference recording."
            )
        reference = shipped[0]
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


def prepare_recording(
    reference: str | os.PathLike | np.ndarray, sample_rate: int, own_rate: int | None = None
) -> np.ndarray:
    """A reference, checked and made like the training recordings: trimmed, at most 30 s, -23 dB RMS -> wav [T]."""
    wav, rate, name = read_recording(reference, own_rate or sample_rate, READ_SECONDS)
    check_recording(wav, rate, name, MIN_SECONDS)
    wav = trim_silence(wav, rate, floor_db=FLOOR_DB, margin_ms=MARGIN_MS)[: int(MAX_SECONDS * rate)]
    return set_loudness(resample(wav, rate, sample_rate), RMS_DB)


def read_recording(
    recording: str | os.PathLike | np.ndarray, own_rate: int, max_seconds: float | None = None
) -> tuple[np.ndarray, int, str]:
    """A file or an array of samples -> wav [T], its rate in Hz, and how to call it in a message."""
    if not isinstance(recording, np.ndarray):
        return *load_audio(recording, max_seconds=max_seconds), str(recording)
    wav = np.asarray(recording, dtype=np.float32)
    if wav.ndim != 1:
        raise AudioError(f"recording: expected samples of shape [T], got {list(wav.shape)}.")
    return wav, own_rate, "recording"


def check_recording(wav: np.ndarray, sample_rate: int, name: str, min_seconds: float) -> None:
    """One-sentence AudioError for a recording [T] that is empty, not finite, silent or too short."""
    if len(wav) == 0:
        raise AudioError(f"{name}: the recording holds no samples.")
    if not np.isfinite(wav).all():
        raise AudioError(
            f"{name}: the recording holds samples that are not finite numbers (NaN or infinity)."
        )
    # A constant offset is not sound.
    peak = float(np.abs(wav - wav.mean()).max())
    if peak < SILENCE_PEAK:
        raise AudioError(
            f"{name}: the recording is silent (peak {peak:.1g}, expected at least {SILENCE_PEAK:g})."
        )
    seconds = len(trim_silence(wav, sample_rate, floor_db=FLOOR_DB, margin_ms=0)) / sample_rate
    if seconds < min_seconds:
        raise AudioError(
            f"{name}: {seconds:.2f} s of sound is too short, expected at least {min_seconds:g} s."
        )


def pitch_range(f0: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of ln F0 over the voiced frames of f0 [F] in Hz; (0, 0) if there are too few."""
    voiced = f0[f0 > 0]
    if len(voiced) < MIN_VOICED_FRAMES:
        return 0.0, 0.0
    log_f0 = np.log(voiced.astype(np.float64))
    return float(log_f0.mean()), float(log_f0.std())
