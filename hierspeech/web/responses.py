"""Sound on its way to a client: whole, in chunks, or as server-sent events; and what happens when the client is gone."""

import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.timings import Timing
from hierspeech.web.errors import describe, error_body
from hierspeech.web.formats import Encoder
from hierspeech.web.protocol import Refused

T = TypeVar("T")
logger = logging.getLogger(__name__)


class ClientGone(Exception):
    """The client went away before it was answered."""


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """What `work` returns; it is cancelled, and `ClientGone` raised, when the client goes away first.

    The request's body must have been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        for future in (task, gone):
            future.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class ChunkedResponse(Response):
    """Bytes as they come. Its generator is closed whatever happens: client gone, client asleep, server stopped."""

    def __init__(
        self,
        chunks: AsyncGenerator[bytes, None],
        media_type: str,
        headers: dict[str, str],
        stall_seconds: float,
        ended: Callable[[bool], None] = lambda complete: None,
    ):
        """Args: stall_seconds: a client that takes nothing for so long is let go; ended: told whether all was sent."""
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]
        self._chunks, self._stall, self._ended = chunks, stall_seconds, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the end or until the client is gone."""
        sender = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_disconnected(receive))
        complete = False
        try:
            await asyncio.wait({sender, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sender.done():
                sender.result()
                complete = True
        except (OSError, asyncio.TimeoutError):
            pass  # the connection broke, or nobody reads
        except (Refused, ValueError) as error:
            # The status was sent long ago. Without the last message the server breaks the connection, so the client knows.
            logger.warning("a stream ended early: %s", error)
        finally:
            for future in (sender, gone):
                future.cancel()
            await asyncio.gather(sender, gone, return_exceptions=True)
            await self._chunks.aclose()
            self._ended(complete)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for chunk in self._chunks:
            body = {"type": "http.response.body", "body": chunk, "more_body": True}
            await asyncio.wait_for(send(body), self._stall)
        await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), self._stall)


async def encoded(
    chunks: AsyncGenerator[Speech, None], encoder: Encoder
) -> AsyncIterator[tuple[Speech | None, bytes]]:
    """Each chunk of speech with the bytes that it makes ready; at the end None with the last bytes."""
    async with aclosing(chunks):
        async for speech in chunks:
            yield speech, await run_in_threadpool(encoder.push, speech.audio)
    yield None, await run_in_threadpool(encoder.finish)


async def audio_chunks(pairs: AsyncIterator[tuple[Speech | None, bytes]]) -> AsyncGenerator[bytes, None]:
    """The bytes alone."""
    async with aclosing(pairs):
        async for _, data in pairs:
            if data:
                yield data


async def sse_chunks(
    pairs: AsyncIterator[tuple[Speech | None, bytes]], characters: int, words: bool, sample_rate: int
) -> AsyncGenerator[bytes, None]:
    """OpenAI's events, and `speech.audio.words` where they were asked for; an error after the beginning is an event, too."""
    seconds = 0.0
    try:
        async with aclosing(pairs):
            async for speech, data in pairs:
                timings = speech.words if words and speech is not None else []
                if timings:
                    yield event(
                        {"type": "speech.audio.words", "words": [word_dict(word) for word in timings]}
                    )
                if speech is not None:
                    seconds += speech.seconds
                if data:
                    audio = base64.b64encode(data).decode()
                    yield event({"type": "speech.audio.delta", "audio": audio})
    except Exception as error:  # the status was sent long ago
        if not isinstance(error, (Refused, ValueError)):
            logger.error("a stream failed", exc_info=error)
        yield event({"type": "error"} | error_body(*describe(error)))
        return
    tokens = round(seconds * 20)  # OpenAI counts tokens of sound; ours are the seconds in twentieths
    usage = {"input_tokens": characters, "output_tokens": tokens, "total_tokens": characters + tokens}
    yield event({"type": "speech.audio.done", "usage": usage | {"seconds": round(seconds, 3)}})


def word_dict(word: Timing) -> dict[str, Any]:
    """A `Timing` as the API shows it."""
    return {
        "word": word.text,
        "start": round(word.start, 4),
        "end": round(word.end, 4),
        "offset": word.offset,
    }


def event(values: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(values, ensure_ascii=True)}\n\n".encode()


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self._since = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Until now."""
        return time.perf_counter() - self._since
