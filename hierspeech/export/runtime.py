"""Text to speech from an exported voice, with onnxruntime and numpy: nothing here, nor what it imports, loads torch.

The text front end and the reading of recordings are those of the pipelines; the rest repeats `TextToSpeech` on graphs.
Shapes: T samples, S phoneme ids, N frames at 50 Hz, C channels.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hierspeech.pipelines.arguments import NOISE_SCALES, PITCH_RANGES, PITCH_SHIFTS, SPEEDS, check_range
from hierspeech.pipelines.contours import contour, gains, move_pitch, moves_pitch
from hierspeech.pipelines.pauses import join, pause_behind, sentence_speed
from hierspeech.pipelines.questions import question_rise
from hierspeech.pipelines.recording import prepare_reference
from hierspeech.pipelines.sentences import FADE_SECONDS, NEUTRAL_PITCH, Sentence, TextReader
from hierspeech.pipelines.voice_pitch import pitch_range
from speech.audio import resample, set_loudness
from speech.f0 import extract_f0
from speech.text.tokenizer import get_tokenizer

FORMAT = 1
OUTPUT_RATES = (16000, 24000, 48000)  # Hz
Draw = Callable[[tuple[int, ...]], np.ndarray]


@dataclass
class OnnxPrompt:
    """A reference as the graphs need it; arrays [1, C] and the mean and deviation of its ln F0."""

    ttv_style: np.ndarray
    synthesizer_style: np.ndarray
    pitch: tuple[float, float]
    peak: float | None


class OnnxTextToSpeech:
    """Speaks with a folder that `python -m hierspeech.export` wrote.

    >>> wav, sample_rate = OnnxTextToSpeech("exported")("Good morning.", "anna")
    """

    def __init__(self, folder: str | Path, threads: int = 0, providers: list[str] | None = None):
        """threads: of onnxruntime, 0 is its own choice. providers: onnxruntime's, default the CPU's."""
        self.folder = Path(folder)
        try:
            self.export: dict[str, Any] = json.loads((self.folder / "export.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder}: not an exported voice ({error}).") from error
        if self.export.get("format") != FORMAT:
            raise ValueError(
                f"{folder}: export.json has format {self.export.get('format')}, expected {FORMAT}."
            )
        self.voice: dict[str, Any] = self.export["voice"]
        self.sample_rate: int = self.export["sample_rate"]
        tokenizer = get_tokenizer(self.export["tokenizer"], self.export["symbols"])
        own = (self.voice[name] for name in ("language", "normalizer", "max_chars"))
        self.reader = TextReader(*own, tokenizer, self.export["languages"])
        self._threads, self._providers = threads, providers or ["CPUExecutionProvider"]
        self._sessions: dict[str, Any] = {}

    def __call__(
        self,
        text: str,
        reference: str | os.PathLike | np.ndarray | OnnxPrompt | None = None,
        language: str | None = None,
        speed: float = 1.0,
        noise_scale: float | None = None,
        seed: int | None = None,
        output_sample_rate: int = 16000,
        pitch_shift: float = 0.0,
        pitch_range: float = 1.0,
    ) -> tuple[np.ndarray, int]:
        """Speaks a text of any length; arguments as for `TextToSpeech` -> samples float32 [T] and their rate in Hz.

        Equal seeds give equal speech, but other noise than torch draws from the same seed. Marks in the text count but for `mix`.

        Raises:
            ValueError: nothing to speak, an unusable reference, or an argument outside its range, in one sentence.
        """
        check_range("speed", speed, SPEEDS)
        noise_scale = self.voice["noise_scale"] if noise_scale is None else noise_scale
        check_range("noise scale", noise_scale, NOISE_SCALES)
        check_range("pitch shift", pitch_shift, PITCH_SHIFTS)
        check_range("pitch range", pitch_range, PITCH_RANGES)
        if output_sample_rate not in OUTPUT_RATES:
            raise ValueError(f"output sample rate {output_sample_rate}: expected one of 16000, 24000, 48000 Hz.")  # fmt: skip
        sentences, _ = self.reader.encode(text, language)
        prompt = reference if isinstance(reference, OnnxPrompt) else self.prompt(reference)
        generator = np.random.default_rng(seed)

        def draw(shape: tuple[int, ...]) -> np.ndarray:
            return generator.standard_normal(shape, np.float32)

        for sentence in sentences:
            if sentence.mix is not None:
                raise ValueError(
                    f"the mark <mix={sentence.mix:g}> in the text: exported voices do not mix two voices."
                )
        speeds = [sentence_speed(speed, sentence) for sentence in sentences]
        pieces = [
            self.speak(sentence, prompt, draw, own, noise_scale, pitch_shift, pitch_range)
            for sentence, own in zip(sentences, speeds, strict=True)
        ]
        pauses = [
            pause_behind(sentence, own, self.sample_rate)
            for sentence, own in zip(sentences, speeds, strict=True)
        ]
        fade_ends = self.voice["recordings"] == "levelled"
        wav = join(pieces, pauses, int(FADE_SECONDS * self.sample_rate), fade_ends)
        return self._level(self.change_rate(wav, output_sample_rate), prompt.peak), output_sample_rate

    def prompt(
        self, reference: str | os.PathLike | np.ndarray | None = None, sample_rate: int | None = None
    ) -> OnnxPrompt:
        """A saved prompt by name or file, or a recording by file or samples [T]; None is the first saved prompt."""
        names = self.voice["prompts"]
        if reference is None:
            if not names:
                raise ValueError(f"{self.folder} has no saved prompts: expected a reference recording.")
            reference = names[0]
        path = None if isinstance(reference, np.ndarray) else Path(reference)
        if path is not None and not path.exists() and str(reference) in names:
            path = self.folder / "prompts" / f"{reference}.safetensors"
        if path is not None and path.suffix == ".safetensors":
            return self._read_prompt(path)
        wav, peak = prepare_reference(reference, self.sample_rate, sample_rate, self.voice["recordings"])
        f0 = extract_f0(wav, self.sample_rate, f0_max=self.export["f0_max_hz"])
        pitch = pitch_range(f0, self.voice["recordings"])
        pitch = pitch if pitch[0] > 0 else NEUTRAL_PITCH  # a whisper
        styles = self.run("style", wav=wav[None])
        style = styles["synthesizer_style"]
        (wanted,) = (x.shape[1] for x in self.session("synthesizer").get_inputs() if x.name == "style")
        if "equalizer" in self.export["parts"]:
            style = np.concatenate([style, self._table(style, wav, f0)], 1)
        elif style.shape[1] < wanted:  # exported without the encoder that the table needs: a flat one
            style = np.pad(style, ((0, 0), (0, wanted - style.shape[1])))
        return OnnxPrompt(styles["ttv_style"], style, pitch, peak)

    def _table(self, style: np.ndarray, wav: np.ndarray, f0: np.ndarray) -> np.ndarray:
        """The equalizer's table [1, P * K] of the recording wav [T] with style [1, C] and pitch f0 [F] in Hz."""
        (wanted,) = (x for x in self.session("synthesizer").get_inputs() if x.name == "style")
        heard = self.run("semantic_encoder", wav=wav[None])
        plain = heard.get("plain", heard["semantic"])
        n_frames = plain.shape[2]
        log_f0 = np.zeros((1, 1, 4 * n_frames), np.float32)
        known = f0[: log_f0.shape[2]]
        log_f0[0, 0, : len(known)] = np.log1p(known)
        table = np.zeros((1, wanted.shape[1] - style.shape[1]), np.float32)
        for _ in range(self.export.get("equalizer_passes", 1)):
            copy = self.run(
                "synthesizer",
                semantic=plain,
                log_f0=log_f0,
                style=np.concatenate([style, table], 1),
                frame_mask=np.ones((1, n_frames), bool),
                noise=lambda shape: np.zeros((1, shape[1], n_frames), np.float32),
                noise_scale=np.float32(0),
            )["wav"][0]
            heard = {"plain": plain, "wav": wav[None, : copy.shape[1]], "copy": copy, "table": table}
            (table,) = self.run("equalizer", **heard).values()
        return table

    def speak(
        self,
        sentence: Sentence,
        prompt: OnnxPrompt,
        draw: Draw,
        speed: float = 1.0,
        noise_scale: float = 0.333,
        pitch_shift: float = 0.0,
        pitch_range: float = 1.0,
    ) -> np.ndarray:
        """One sentence; `draw` gives standard normal noise of a shape -> wav [T] at the voice's rate."""
        ids, languages = np.array([sentence]), sentence.languages
        text = self.run(
            "ttv_text",
            phoneme_ids=ids,
            text_mask=np.ones_like(ids, bool),
            style=prompt.ttv_style,
            length_scale=np.float32(1 / speed),
            duration_noise=lambda shape: draw((1, shape[1], ids.shape[1])),
            language_ids=np.zeros_like(ids) if languages is None else np.array([languages]),
        )
        n_frames = int(text.pop("n_frames")[0])
        shared = {
            "frame_mask": np.ones((1, n_frames), bool),
            "noise_scale": np.float32(noise_scale),
            "noise": lambda shape: draw((1, shape[1], n_frames)) if noise_scale else np.zeros((1, shape[1], n_frames), np.float32),
        }  # fmt: skip
        pitch = np.array([prompt.pitch], np.float32)
        frames = self.run("ttv_frames", **text, **shared, style=prompt.ttv_style, pitch=pitch)
        log_f0 = np.where(frames["log_f0"] < np.float32(math.log(self.voice["f0_floor_hz"])), np.float32(0), frames["log_f0"])  # fmt: skip
        source, durations = getattr(sentence, "source", None), text["durations"][0].tolist()
        aim = self.voice.get("question_rise", 0.0)
        rise = question_rise(source, durations, n_frames, log_f0[0, 0], aim, pitch_range)
        asked = contour(source, durations, n_frames, pitch_shift, pitch_range, rise)
        if moves_pitch(asked):
            mean = None if prompt.pitch == NEUTRAL_PITCH else prompt.pitch[0]
            log_f0 = move_pitch(log_f0[0, 0], asked, mean, self.voice["f0_floor_hz"])[None, None]
        out = self.run(
            "synthesizer",
            semantic=frames["semantic"],
            log_f0=log_f0,
            style=prompt.synthesizer_style,
            **shared,
        )
        wav, loud = out["wav"][0, 0], gains(asked, out["wav"].shape[-1] // n_frames)
        return wav if loud is None else wav * loud

    def change_rate(self, wav: np.ndarray, output_sample_rate: int) -> np.ndarray:
        """wav [T] at the voice's rate -> at another one: by the voice's super-resolution where it has one, else by soxr."""
        if f"speechsr_{output_sample_rate}" not in self.export["parts"]:
            return resample(wav, self.sample_rate, output_sample_rate)
        scale = output_sample_rate / self.sample_rate
        length, pieces = round(len(wav) * scale), []
        wav = np.pad(wav, (0, 0 if scale.is_integer() else len(wav) % 2))
        chunk, context = self.export["chunk_samples"], self.export["context_samples"]
        for start in range(0, len(wav), chunk):
            stop = min(start + chunk, len(wav))
            left, right = max(0, start - context), min(len(wav), stop + context)
            piece = self.run(f"speechsr_{output_sample_rate}", wav=wav[None, None, left:right])["wav_up"][
                0, 0
            ]
            pieces.append(piece[int((start - left) * scale) : int((stop - left) * scale)])
        return np.concatenate(pieces)[:length]

    def run(self, part: str, **inputs: Any) -> dict[str, np.ndarray]:
        """One graph on those of `inputs` that it has; a function is called with the input's shape to make it."""
        session = self.session(part)
        feed = {}
        for wanted in session.get_inputs():
            value = inputs[wanted.name]
            feed[wanted.name] = value(wanted.shape) if callable(value) else np.asarray(value)
        return dict(zip([made.name for made in session.get_outputs()], session.run(None, feed), strict=True))

    def session(self, part: str) -> Any:
        """The onnxruntime session of a part, made when first used."""
        if part not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.log_severity_level = 3
            path = str(self.folder / f"{part}.onnx")
            self._sessions[part] = onnxruntime.InferenceSession(path, options, providers=self._providers)
        return self._sessions[part]

    def _read_prompt(self, path: Path) -> OnnxPrompt:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                metadata = file.metadata() or {}
                mean, std = json.loads(metadata["log_f0"])
                styles = [file.get_tensor(name) for name in ("ttv_style", "synthesizer_style")]
                peak = float(json.loads(metadata["peak"])) if "peak" in metadata else None
                made_by = metadata["voice"]
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise ValueError(f"{path}: not a saved voice prompt ({error}).") from error
        if made_by != self.export["prompt_tag"]:
            raise ValueError(
                f"the prompt was made with the voice {made_by!r}, but this voice is {self.export['prompt_tag']!r}."
            )
        pitch = (mean, std) if mean > 0 else NEUTRAL_PITCH
        return OnnxPrompt(styles[0].astype(np.float32), styles[1].astype(np.float32), pitch, peak)

    def _level(self, wav: np.ndarray, peak: float | None) -> np.ndarray:
        level = self.voice["level"]
        if level == "loudness":
            return set_loudness(wav, self.export["rms_db"], self.export["peak"])
        if level == "prompt" and peak is None:
            raise ValueError("level 'prompt': this saved prompt does not know the peak of its recording.")
        highest = np.abs(wav).max(initial=np.float32(0))
        target = self.export["full_peak"] if level == "peak" else min(peak, 1.0)
        return wav if highest == 0 else wav / highest * np.float32(target)
