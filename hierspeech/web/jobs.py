"""What a worker does for one request, a turn at a time: between two turns others have theirs.

A `Job` is shared by the event loop, which reads what it delivers, and by one worker at a time.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.prosody import Delivery
from hierspeech.pipelines.sentences import Sentence
from hierspeech.pipelines.timings import Spoken
from hierspeech.pipelines.tts import TextToSpeech
from hierspeech.web.protocol import ConversionRequest, PromptRequest, SpeechRequest

AHEAD = 4  # chunks of a stream (up to 6.4 s each) that may wait for a client to read them


class Cancelled(Exception):
    """Nobody waits for this work any more."""


class Job:
    """A request that was accepted."""

    def __init__(self, request: SpeechRequest | ConversionRequest | PromptRequest):
        self.request = request
        self.since = time.monotonic()
        self.begun = False  # a worker has touched it
        self.busy = False  # a worker is at it now
        self.done = False  # finished or given up: whatever is still computed for it is thrown away
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def deliver(self, kind: str, value: Any = None) -> None:
        """Hands "item", "error" or "end" to whoever waits; called by workers."""
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, (kind, value))
        except RuntimeError:  # the loop is closed: nobody waits
            self.done = True

    async def receive(self, timeout: float) -> tuple[str, Any]:
        """The next thing delivered; TimeoutError after so many seconds."""
        return await asyncio.wait_for(self._items.get(), max(0.0, timeout))


class WholeJob(Job):
    """A text to be spoken as a whole; its sentences are spoken in batches, with those of others."""

    sentences: list[Sentence]
    unknown: list[str]
    delivery: Delivery

    def __init__(self, request: SpeechRequest):
        super().__init__(request)
        self.prepared = False
        self.pieces: list[Spoken | None] = []
        self.taken: list[bool] = []  # a worker speaks or spoke it

    def prepare(self, tts: TextToSpeech) -> None:
        """Reads the text; ValueError where it cannot be spoken."""
        options = self.request.options().fill_in(tts.voice)
        self.sentences, self.unknown = tts.encode(self.request.text, options.language)
        self.delivery = tts.delivery(self.request.prompt, options)
        for sentence in self.sentences:
            self.delivery.voice(sentence)  # it may ask for a second one, where there is none
        self.pieces, self.taken = [None] * len(self.sentences), [False] * len(self.sentences)
        self.prepared = True

    def length(self, place: int) -> float:
        """What a sentence takes, in phonemes of speed 1."""
        return len(self.sentences[place]) / self.delivery.speed(self.sentences[place])

    @property
    def complete(self) -> bool:
        """Whether every sentence is spoken."""
        return self.prepared and all(piece is not None for piece in self.pieces)


class StreamJob(Job):
    """A text to be spoken in chunks."""

    def __init__(self, request: SpeechRequest):
        super().__init__(request)
        self.chunks: Iterator[Speech] | None = None
        self.ahead = 0  # chunks that nobody has read yet
        self.seconds = 0.0  # of sound delivered
        self.first: float | None = None  # when the first chunk was delivered

    def lead(self, now: float) -> float:
        """Seconds of sound that a listener still has, or, negative, how long one waits already."""
        return self.since - now if self.first is None else self.seconds - (now - self.first)


class SingleJob(Job):
    """Work that is not shared: a conversion or a prompt."""
