"""Who has the next turn: one neat list of jobs, from which any number of workers take bounded pieces of work.

Streams, batches of sentences and single pieces of work alternate, so that none starves the others. Among streams, the one whose
listener has the least sound left goes first; among sentences, the oldest request's, with sentences of like length of others.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from hierspeech.pipelines.batches import make_buckets
from hierspeech.pipelines.timings import Spoken
from hierspeech.web.jobs import AHEAD, Job, SingleJob, StreamJob, WholeJob
from hierspeech.web.protocol import Busy, Unavailable

# Phonemes of a sentence, on average, that a batch has room for: others wait while it is spoken, and 200 emoji or digits are read
# out in thousands of phonemes.
MEAN_LENGTH = 100
CANDIDATES = 16  # batches of sentences among which those of like length are looked for
Turn = tuple[
    str, list
]  # "prepare" [WholeJob]; "batch" [(WholeJob, place), ...]; "stream" [StreamJob]; "single" [SingleJob]


class Scheduler:
    """All jobs that were accepted and are not done. Every method may be called from any thread."""

    def __init__(self, limit: int, max_batch: int):
        """Args: limit: jobs at a time; max_batch: sentences that are spoken together."""
        self.limit, self.max_batch = limit, max_batch
        self._jobs: list[Job] = []  # oldest first
        self._changed = threading.Condition()
        self._closing = ""  # why there are no more turns
        self._seconds = 1.0  # that a job takes, lately
        self._kinds: deque[Callable[[bool], Turn | None]] = deque(
            [self._stream, self._sentences, self._single]
        )

    def accept(self, job: Job) -> None:
        """Takes a job in; `Busy` where there is no room, `Unavailable` where the house closes."""
        with self._changed:
            if self._closing:
                raise Unavailable(self._closing)
            if len(self._jobs) >= self.limit:
                message = (
                    f"{len(self._jobs)} requests are waiting or at work already; please try again later."
                )
                raise Busy(message, self._seconds)
            self._jobs.append(job)
            self._changed.notify()

    def finish(self, job: Job) -> None:
        """Lets a job go, done or given up; may be called again."""
        with self._changed:
            if job.done:
                return
            job.done = True
            self._jobs.remove(job)
            self._seconds += 0.1 * (time.monotonic() - job.since - self._seconds)
            chunks = None if job.busy or not isinstance(job, StreamJob) else job.chunks
            self._changed.notify_all()
        if chunks is not None:
            chunks.close()

    def sent(self, job: StreamJob, seconds: float) -> None:
        """Says that a chunk of so many seconds goes out."""
        with self._changed:
            job.ahead += 1
            job.seconds += seconds
            job.first = job.first or time.monotonic()

    def read(self, job: StreamJob) -> None:
        """Says that a chunk was taken, so that another may be computed."""
        with self._changed:
            job.ahead -= 1
            self._changed.notify()

    def take(self, wait: bool = True, nested: bool = False) -> Turn | None:
        """The next turn; None when the house is closed, or, unless `wait`, when there is nothing to do.

        `nested`: asked for between two pieces of single work, which does not begin another one.
        """
        with self._changed:
            while not self._closing:
                for kind in list(self._kinds):
                    turn = kind(nested)
                    if turn is not None:
                        self._kinds.remove(kind)
                        self._kinds.append(kind)
                        return turn
                if not wait:
                    return None
                self._changed.wait()
        return None

    def spoken(self, job: WholeJob, place: int, piece: Spoken) -> bool:
        """Keeps a spoken sentence; whether it was the last one that the job lacked."""
        with self._changed:
            job.pieces[place] = piece
            return job.complete

    def give_back(self, job: Job) -> bool:
        """Ends a turn that had the job to itself; whether the job is done, so that what it holds is the worker's to end."""
        with self._changed:
            job.busy = False
            self._changed.notify()
            return job.done

    def close(self, why: str) -> list[Job]:
        """No more turns, and no more jobs, which are told why; those that are left."""
        with self._changed:
            self._closing = self._closing or why
            self._changed.notify_all()
            return list(self._jobs)

    def counts(self) -> tuple[int, int]:
        """(jobs that nothing was done for yet, jobs at work)."""
        with self._changed:
            active = sum(job.begun for job in self._jobs)
            return len(self._jobs) - active, active

    def _stream(self, nested: bool) -> Turn | None:
        ready = [job for job in self._of(StreamJob) if not job.busy and job.ahead < AHEAD]
        if not ready:
            return None
        now = time.monotonic()
        return self._begin("stream", min(ready, key=lambda job: job.lead(now)))

    def _single(self, nested: bool) -> Turn | None:
        ready = [job for job in self._of(SingleJob) if not job.busy]
        return self._begin("single", ready[0]) if ready and not nested else None

    def _sentences(self, nested: bool) -> Turn | None:
        jobs = self._of(WholeJob)
        places = [
            (job, place) for job in jobs if job.prepared for place, taken in enumerate(job.taken) if not taken
        ]
        places = places[: CANDIDATES * self.max_batch]
        unread = [job for job in jobs if not job.prepared and not job.busy]
        if unread and len(places) < self.max_batch:  # read on while more sentences fit into a batch
            return self._begin("prepare", unread[0])
        if not places:
            return None
        lengths = [job.length(place) for job, place in places]
        bucket = next(bucket for bucket in make_buckets(lengths, self.max_batch) if 0 in bucket)
        # the oldest first; the longest is alone where it fills a batch
        chosen, room = [], self.max_batch * MEAN_LENGTH
        for number in sorted(bucket):
            if not chosen or lengths[number] <= room:
                chosen.append(places[number])
                room -= lengths[number]
        for job, place in chosen:
            job.taken[place] = job.begun = True
        return "batch", chosen

    def _of(self, kind: type) -> list:
        return [job for job in self._jobs if isinstance(job, kind)]

    def _begin(self, name: str, job: Job) -> Turn:
        job.busy = job.begun = True
        return name, [job]
