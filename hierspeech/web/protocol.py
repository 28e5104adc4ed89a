"""What the server asks of whatever speaks for it: the models in this process (`engine.py`) or replicas elsewhere (`ray_app.py`).

Requests hold all they need, prompts included, and can be pickled. All calls are made in the event loop's thread. A call whose
task is cancelled, or an iterator that is closed, gives its place back and stops computing as soon as it can.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, fields
from typing import Protocol

from hierspeech.pipelines.options import SpeakingOptions
from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.prompt import VoicePrompt


@dataclass(frozen=True)
class SpeechRequest:
    """A text to speak; the fields mean what they mean in `TextToSpeech.__call__`."""

    text: str
    prompt: VoicePrompt
    language: str | None = None
    speed: float = 1.0
    seed: int = 0
    sample_rate: int = 24000  # Hz of what comes back
    pitch_shift: float = 0.0
    pitch_range: float = 1.0
    energy: float = 0.0
    mix_with: VoicePrompt | None = None
    mix: float | None = None

    def options(self) -> SpeakingOptions:
        """All but the text and the first voice, as the pipelines take it."""
        own = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name in SpeakingOptions.__dataclass_fields__
        }
        return SpeakingOptions(**own, output_sample_rate=self.sample_rate)


@dataclass(frozen=True)
class ConversionRequest:
    """A recording, as the bytes of a file that libsndfile reads, to be spoken again."""

    recording: bytes
    prompt: VoicePrompt
    seed: int = 0
    sample_rate: int = 24000
    max_seconds: float = 300.0


@dataclass(frozen=True)
class PromptRequest:
    """A recording, as the bytes of a file that libsndfile reads, whose voice is to be used."""

    recording: bytes
    max_seconds: float = 300.0


@dataclass(frozen=True)
class EngineStats:
    """How an engine is doing."""

    status: str  # "starting", "ready", "failed" or "closing"
    waiting: int = 0  # requests that nothing was done for yet
    active: int = 0  # requests at work
    limit: int = 0  # of both together
    replicas: int = 1
    batches: int = 0  # spoken since the start
    batched: int = 0  # sentences in them


class Refused(Exception):
    """A request that the engine does not carry out; the message is one sentence for the client."""


class Busy(Refused):
    """Too many requests are in the house."""

    def __init__(self, message: str, retry_after: float = 1.0):
        super().__init__(message, retry_after)
        self.retry_after = retry_after  # seconds

    def __str__(self) -> str:
        return self.args[0]


class TimedOut(Refused):
    """The sound was not there in time."""


class Unavailable(Refused):
    """The engine is closing or broken."""


class Engine(Protocol):
    """Speaks. What is wrong with a request is a ValueError of one sentence; all else that is expected is `Refused`."""

    async def start(self) -> None:
        """Begins to load the models; does not wait for them: requests do."""
        ...

    async def close(self) -> None:
        """Ends what is at work and frees everything."""
        ...

    async def speak(self, request: SpeechRequest) -> Speech:
        """The whole text, at the level of the whole: what a call of `TextToSpeech` gives."""
        ...

    def stream(self, request: SpeechRequest) -> AsyncGenerator[Speech, None]:
        """The same in chunks, while they are computed: what `TextToSpeech.stream` gives. Errors come with the first one."""
        ...

    async def convert(self, request: ConversionRequest) -> Speech:
        """What a call of `VoiceConversion` gives."""
        ...

    async def make_prompt(self, request: PromptRequest) -> VoicePrompt:
        """Listens to a recording."""
        ...

    def stats(self) -> EngineStats:
        """How it is doing now; cheap, as health checks ask for it."""
        ...
