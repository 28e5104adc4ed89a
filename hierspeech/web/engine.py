"""The engine of one process: the models of a voice, threads that compute with them, and the queue before them."""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np

from hierspeech.pipelines.conversion import VoiceConversion
from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.pipelines.tts import TextToSpeech
from hierspeech.web.jobs import Job, SingleJob, StreamJob, WholeJob
from hierspeech.web.protocol import (
    ConversionRequest,
    EngineStats,
    PromptRequest,
    SpeechRequest,
    TimedOut,
    Unavailable,
)
from hierspeech.web.scheduler import Scheduler
from hierspeech.web.settings import Settings
from hierspeech.web.worker import Tally, Worker

logger = logging.getLogger(__name__)
WARM_UP_TEXT = "1, 2, 3."  # every language has words for it
JOIN_SECONDS = 10.0  # that closing waits for a turn under way


class LocalEngine:
    """`protocol.Engine` with the models in this process."""

    def __init__(self, settings: Settings):
        """Finds the voice; ValueError where there is none. Its models are loaded by `start`."""
        self.settings = settings
        self.tts = TextToSpeech.from_pretrained(settings.voice, settings.device, settings.precision)
        self._scheduler = Scheduler(settings.queue, settings.max_batch)
        self._tally = Tally()
        threads = max(1, (os.cpu_count() or 1) // settings.workers) if settings.workers > 1 else 0
        conversion = VoiceConversion(self.tts.voice)
        self._workers = [
            Worker(self.tts, conversion, self._scheduler, self._tally, threads, settings.adapt)
            for _ in range(settings.workers)
        ]
        self._status = "starting"
        self._converts = True
        self._loader = threading.Thread(target=self._load, name="hierspeech-loader", daemon=True)

    async def start(self) -> None:
        """Begins to load the models; workers take turns as soon as they are there."""
        self._loader.start()

    def _load(self) -> None:
        try:
            self._warm_up()
        except Exception as error:
            logger.error("the voice %s cannot be used", self.settings.voice, exc_info=error)
            self._status = "failed"
            self._end("the voice of this server cannot be used; its log says why.")
            return
        if self._status == "starting":
            self._status = "ready"
            for worker in self._workers:
                worker.start()

    def _warm_up(self) -> None:
        """Loads what requests need and speaks once either way: the first request would wait for it otherwise."""
        try:
            _ = self.tts.voice.semantic_encoder
        except (ValueError, OSError) as error:  # a voice may come without; conversions will say so
            logger.warning("this voice converts no recordings: %s", error)
            if self.settings.adapt:
                raise ValueError(f"--adapt {self.settings.adapt}: {error}") from error
            self._converts = False
        noise = (0.1 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
        prompt = self.tts.prompt(noise, sample_rate=16000)
        options = {"seed": 0, "output_sample_rate": self.settings.sample_rate}
        self.tts(WARM_UP_TEXT, prompt, **options)
        for _ in self.tts.stream(WARM_UP_TEXT, prompt, **options):
            pass

    async def close(self) -> None:
        """Ends what is at work between two pieces; whoever still waits is told so."""
        self._status = "closing"
        self._end("the server is shutting down.")
        for thread in (self._loader, *self._workers):
            await asyncio.to_thread(thread.join, JOIN_SECONDS)

    def _end(self, why: str) -> None:
        for job in self._scheduler.close(why):
            job.deliver("error", Unavailable(why))

    async def speak(self, request: SpeechRequest) -> Speech:
        """See `protocol.Engine`."""
        return await self._only(WholeJob(request))

    async def convert(self, request: ConversionRequest) -> Speech:
        """See `protocol.Engine`."""
        if not self._converts:
            raise Unavailable("the voice of this server converts no recordings.")
        return await self._only(SingleJob(request))

    async def make_prompt(self, request: PromptRequest) -> VoicePrompt:
        """See `protocol.Engine`."""
        return await self._only(SingleJob(request))

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[Speech, None]:
        """See `protocol.Engine`."""
        job = StreamJob(request)
        self._scheduler.accept(job)
        try:
            while True:
                kind, chunk = await self._receive(job)
                if kind == "end":
                    return
                self._scheduler.read(job)
                yield chunk
        finally:
            self._scheduler.finish(job)

    def stats(self) -> EngineStats:
        """See `protocol.Engine`."""
        waiting, active = self._scheduler.counts()
        return EngineStats(
            self._status,
            waiting,
            active,
            self.settings.queue,
            1,
            self._tally.batches,
            self._tally.sentences,
        )

    async def _only(self, job: Job) -> Any:
        """Lets a job be done and gives the one thing that it delivers."""
        self._scheduler.accept(job)
        try:
            return (await self._receive(job))[1]
        finally:
            self._scheduler.finish(job)

    async def _receive(self, job: Job) -> tuple[str, Any]:
        try:
            kind, value = await job.receive(self.settings.timeout)
        except asyncio.TimeoutError as error:  # before Python 3.11 another class than TimeoutError
            raise TimedOut(f"no sound within {self.settings.timeout:g} s; please try again later.") from error
        if kind == "error":
            raise value
        return kind, value
