"""The threads that compute: each takes turns from the scheduler and carries them out with models that all of them share."""

import logging
import threading
from dataclasses import dataclass

import torch

from hierspeech.pipelines.arguments import piece_generator
from hierspeech.pipelines.batches import Row, speak_rows
from hierspeech.pipelines.conversion import VoiceConversion
from hierspeech.pipelines.options import SpeakingOptions
from hierspeech.pipelines.timings import Spoken
from hierspeech.pipelines.tts import TextToSpeech
from hierspeech.web.jobs import Cancelled, Job, SingleJob, StreamJob, WholeJob
from hierspeech.web.protocol import ConversionRequest
from hierspeech.web.recordings import recording_file
from hierspeech.web.scheduler import Scheduler, Turn

logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """What was done since the start; written by workers, read by whoever asks."""

    batches: int = 0
    sentences: int = 0


class Worker:
    """Carries out turns, in a thread of its own."""

    def __init__(
        self,
        tts: TextToSpeech,
        conversion: VoiceConversion,
        scheduler: Scheduler,
        tally: Tally,
        threads: int,
        adapt: int = 0,
    ):
        """Args: threads: that torch may use for this worker; 0 leaves it as it is. adapt: steps for each uploaded voice."""
        self.tts, self.conversion, self.scheduler, self.tally = tts, conversion, scheduler, tally
        self._threads, self._adapt = threads, adapt
        self._options = SpeakingOptions().fill_in(tts.voice)
        self._thread = threading.Thread(target=self._work, name="hierspeech-worker", daemon=True)

    def start(self) -> None:
        """Begins to take turns."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Waits for the turn that is under way when the scheduler closes."""
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout)

    def _work(self) -> None:
        if self._threads:
            torch.set_num_threads(self._threads)
        while (turn := self.scheduler.take()) is not None:
            try:
                self._do(turn)
            except Exception as error:  # a fault of ours; the other requests still want a worker
                logger.error("a turn failed", exc_info=error)

    def _do(self, turn: Turn) -> None:
        kind, what = turn
        if kind == "batch":
            self._speak(what)
            return
        job = what[0]
        try:
            {"prepare": self._prepare, "stream": self._next_chunk, "single": self._single}[kind](job)
        except Cancelled:
            pass
        except Exception as error:  # whatever it is, the worker goes on, and somebody waits for an answer
            self._fail(job, error)
        if self.scheduler.give_back(job) and isinstance(job, StreamJob) and job.chunks is not None:
            job.chunks.close()

    def _fail(self, job: Job, error: Exception) -> None:
        if not isinstance(error, ValueError):
            logger.error("a request failed", exc_info=error)
        job.deliver("error", error)
        self.scheduler.finish(job)

    def _prepare(self, job: WholeJob) -> None:
        job.prepare(self.tts)

    def _next_chunk(self, job: StreamJob) -> None:
        request = job.request
        if job.chunks is None:
            job.chunks = self.tts.stream(request.text, request.prompt, **vars(request.options()))
        chunk = next(job.chunks, None)
        if chunk is None:
            job.deliver("end")
            self.scheduler.finish(job)
        else:
            self.scheduler.sent(job, chunk.seconds)
            job.deliver("item", chunk)

    def _speak(self, places: list[tuple[WholeJob, int]]) -> None:
        """A batch of sentences; a job whose last one this was is put together."""
        try:
            pieces = self._speak_rows(places)
        except Exception as error:  # see _do
            if len(places) == 1:
                self._fail(places[0][0], error)
            else:  # memory was short, or one of them is to blame: alone, the others succeed
                for place in places:
                    self._speak([place])
            return
        for (job, place), piece in zip(places, pieces, strict=True):
            if not self.scheduler.spoken(job, place, piece) or job.done:
                continue
            try:
                speech = self.tts.put_together(job.pieces, job.sentences, job.delivery, job.unknown)
                job.deliver("item", speech)
                self.scheduler.finish(job)
            except Exception as error:
                self._fail(job, error)

    def _speak_rows(self, places: list[tuple[WholeJob, int]]) -> list[Spoken]:
        rows = [
            Row(job.sentences[place], job.delivery, piece_generator(job.request.seed, place))
            for job, place in places
        ]
        self.tally.batches += 1
        self.tally.sentences += len(rows)
        return speak_rows(self.tts, rows, self._options.noise_scale, self._options.noise_scale_vc)

    def _single(self, job: SingleJob) -> None:
        request = job.request
        with recording_file(request.recording, request.max_seconds) as path:
            if isinstance(request, ConversionRequest):
                result = self.conversion(
                    path,
                    request.prompt,
                    seed=request.seed,
                    output_sample_rate=request.sample_rate,
                    progress=lambda done, total: self._let_others(job),
                )
            else:
                result = self.tts.prompt(
                    path, adapt_steps=self._adapt, progress=lambda done, total: self._let_others(job)
                )
        job.deliver("item", result)
        self.scheduler.finish(job)

    def _let_others(self, job: SingleJob) -> None:
        """Between two pieces of a conversion or steps of an adaptation: one turn for each other kind of work; ends what nobody waits for."""
        if job.done:
            raise Cancelled
        for _ in range(2):
            if (turn := self.scheduler.take(wait=False, nested=True)) is not None:
                self._do(turn)
