"""Who has the next turn: fairness between kinds of work, among streams, and what may share a batch; no models, no sockets."""

import asyncio
from unittest.mock import Mock

import pytest

pytest.importorskip("fastapi")

from hierspeech.pipelines.prosody import Delivery  # noqa: E402
from hierspeech.pipelines.voice import VoiceDescription  # noqa: E402
from hierspeech.web.jobs import AHEAD, SingleJob, StreamJob, WholeJob  # noqa: E402
from hierspeech.web.protocol import Busy, SpeechRequest, Unavailable  # noqa: E402
from hierspeech.web.scheduler import Scheduler  # noqa: E402


def request(text: str = "", speed: float = 1.0) -> SpeechRequest:
    return SpeechRequest(text, None, speed=speed)


def make(kind: type, *arguments):
    """A job, which belongs to an event loop."""

    async def build():
        return kind(*arguments)

    return asyncio.run(build())


class Reader:
    """Stands for `TextToSpeech`: a text of so many sentences of so many phonemes."""

    def __init__(self, lengths: list[int]):
        self.voice = Mock(description=VoiceDescription("tiny", "ttv", "synthesizer", "phonetic"))
        self.encode = lambda text, language: ([[0] * length for length in lengths], [])
        self.delivery = lambda prompt, options: Delivery(prompt, options)


def whole(lengths: list[int], speed: float = 1.0) -> WholeJob:
    """A text whose sentences have so many phonemes."""
    job = make(WholeJob, request(speed=speed))
    job.prepare(Reader(lengths))
    return job


def take_all(scheduler: Scheduler, turns: int) -> list[str]:
    kinds = []
    for _ in range(turns):
        kind, what = scheduler.take(wait=False)
        kinds.append(kind)
        if kind != "batch":
            scheduler.give_back(what[0])
    return kinds


def test_kinds_of_work_alternate():
    scheduler = Scheduler(10, max_batch=1)
    for job in (make(StreamJob, request()), whole([5] * 10), make(SingleJob, request())):
        scheduler.accept(job)
    kinds = take_all(scheduler, 9)
    assert [kinds.count(kind) for kind in ("stream", "batch", "single")] == [3, 3, 3]


def test_a_text_is_read_before_it_is_spoken_and_others_are_read_while_a_batch_has_room():
    scheduler = Scheduler(10, max_batch=4)
    first, second, third = (make(WholeJob, request(text)) for text in "abc")
    for job in (first, second, third):
        scheduler.accept(job)
    for job, lengths in ((first, [5, 5]), (second, [5, 5])):
        kind, what = scheduler.take(wait=False)
        assert (kind, what) == ("prepare", [job])
        job.prepare(Reader(lengths))
        scheduler.give_back(job)
    kind, places = scheduler.take(wait=False)
    assert kind == "batch" and places == [(first, 0), (first, 1), (second, 0), (second, 1)]


def test_a_batch_has_the_oldest_sentence_and_others_of_like_length():
    scheduler = Scheduler(10, max_batch=8)
    old, new = whole([10, 100]), whole([100, 11])
    scheduler.accept(old)
    scheduler.accept(new)
    first, second = (scheduler.take(wait=False)[1] for _ in range(2))
    assert {(job is old, place) for job, place in first} == {(True, 0), (False, 1)}
    assert {(job is old, place) for job, place in second} == {(True, 1), (False, 0)}
    assert scheduler.take(wait=False) is None  # all are being spoken


def test_long_sentences_do_not_make_long_turns():
    scheduler = Scheduler(10, max_batch=4)
    scheduler.accept(whole([1000, 900, 150, 150, 150]))
    assert [len(scheduler.take(wait=False)[1]) for _ in range(4)] == [1, 1, 2, 1]


def test_speed_counts_as_length():
    scheduler = Scheduler(10, max_batch=8)
    scheduler.accept(whole([100]))
    scheduler.accept(whole([400], speed=4.0))
    scheduler.accept(whole([96], speed=4.0))
    assert len(scheduler.take(wait=False)[1]) == 2


def test_the_stream_whose_listener_has_least_goes_first():
    scheduler = Scheduler(10, 8)
    rich, poor = make(StreamJob, request()), make(StreamJob, request())
    scheduler.accept(rich)
    scheduler.accept(poor)
    scheduler.sent(rich, 10.0)
    scheduler.sent(poor, 1.0)
    assert scheduler.take(wait=False)[1] == [poor]
    assert scheduler.take(wait=False)[1] == [rich]  # while a worker is at the other
    assert scheduler.take(wait=False) is None


def test_a_stream_that_nobody_reads_rests():
    scheduler = Scheduler(10, 8)
    job = make(StreamJob, request())
    scheduler.accept(job)
    for _ in range(AHEAD):
        scheduler.sent(job, 1.0)
    assert scheduler.take(wait=False) is None
    scheduler.read(job)
    assert scheduler.take(wait=False) == ("stream", [job])


def test_between_two_pieces_of_a_conversion_no_other_conversion_begins():
    scheduler = Scheduler(10, 8)
    for job in (make(SingleJob, request()), make(SingleJob, request()), make(StreamJob, request())):
        scheduler.accept(job)
    assert scheduler.take(wait=False)[0] == "stream"
    assert scheduler.take(wait=False)[0] == "single"
    assert scheduler.take(wait=False, nested=True) is None
    assert scheduler.take(wait=False)[0] == "single"


def test_places_are_counted_and_given_back_once():
    scheduler = Scheduler(2, 8)
    jobs = [make(StreamJob, request()) for _ in range(3)]
    scheduler.accept(jobs[0])
    scheduler.accept(jobs[1])
    with pytest.raises(Busy, match="2 requests"):
        scheduler.accept(jobs[2])
    scheduler.finish(jobs[0])
    scheduler.finish(jobs[0])
    scheduler.accept(jobs[2])
    assert scheduler.counts() == (2, 0)
    scheduler.take(wait=False)
    assert scheduler.counts() == (1, 1)


def test_a_stream_given_up_is_closed_by_whoever_has_it():
    closed = []

    def chunks():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    scheduler = Scheduler(2, 8)
    job = make(StreamJob, request())
    job.chunks = chunks()
    next(job.chunks)
    scheduler.accept(job)
    scheduler.take(wait=False)
    scheduler.finish(job)  # a worker is at it
    assert not closed
    assert scheduler.give_back(job) is True
    other = make(StreamJob, request())
    other.chunks = job.chunks
    scheduler.accept(other)
    scheduler.finish(other)  # nobody is
    assert closed


def test_a_closed_house_takes_nothing_and_wakes_workers():
    scheduler = Scheduler(2, 8)
    job = whole([5])
    scheduler.accept(job)
    assert scheduler.close("it is late.") == [job]
    assert scheduler.take() is None
    with pytest.raises(Unavailable, match="it is late"):
        scheduler.accept(make(StreamJob, request()))
