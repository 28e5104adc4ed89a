"""An engine whose models are in replicas that Ray Serve starts, watches and replaces: `protocol.Engine` over a deployment's handle.

A request is a matter of its own fields alone, seed included. So when a replica dies under it, another one is asked the same and
gives the same samples; of a stream, the chunks that were passed on already are left out.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayTaskError, WorkerCrashedError
from ray.serve.exceptions import DeploymentUnavailableError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.web.protocol import (
    Busy,
    ConversionRequest,
    EngineStats,
    PromptRequest,
    SpeechRequest,
    TimedOut,
    Unavailable,
)

TRIES = 5  # replicas that a request is given to, one after the other, where they die under it
PAUSE_SECONDS = 0.2  # before the second one; doubled from there on
LOST = (RayActorError, WorkerCrashedError)  # the replica is gone; whatever else is raised, it answered
T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """What a replica gives back where it was asked for something wrong, or could not take it."""

    error: Exception


class RayEngine:
    """`protocol.Engine` over replicas.

    Args:
        handle: of the deployment `ray_app.Speaker`.
        limit: requests in the house at a time; one more is refused.
        timeout: seconds until all sound, or of a stream the first and the next, must be there.
        count: gives the number of replicas that are ready; asked in a thread, every `every` seconds.
    """

    def __init__(
        self,
        handle: DeploymentHandle,
        limit: int,
        timeout: float,
        count: Callable[[], int],
        every: float = 2.0,
    ):
        self._handle, self.limit, self.timeout = handle, limit, timeout
        self._count, self._every = count, every
        self._active = self._replicas = self.lost = 0  # lost: replicas that died under a request
        self._closing = False
        self._watch: asyncio.Task | None = None

    async def start(self) -> None:
        """Begins to count replicas."""
        self._watch = asyncio.create_task(self._count_on())

    async def close(self) -> None:
        """Refuses what comes from now on; the replicas are Ray Serve's to end."""
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    async def speak(self, request: SpeechRequest) -> Speech:
        """See `protocol.Engine`."""
        return await self._ask("speak", request)

    async def convert(self, request: ConversionRequest) -> Speech:
        """See `protocol.Engine`."""
        return await self._ask("convert", request)

    async def make_prompt(self, request: PromptRequest) -> VoicePrompt:
        """See `protocol.Engine`."""
        return await self._ask("make_prompt", request)

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[Speech, None]:
        """See `protocol.Engine`."""
        with self._place():
            passed_on = 0
            for attempt in range(TRIES):
                response = self._handle.options(stream=True).stream.remote(request)
                chunks = aiter(response)
                try:
                    index = 0
                    while True:
                        try:
                            chunk = await self._in_time(anext(chunks))
                        except StopAsyncIteration:
                            return
                        index += 1
                        if index > passed_on:
                            passed_on = index
                            yield chunk
                except LOST as error:
                    await self._after(attempt, error)
                finally:
                    response.cancel()

    def stats(self) -> EngineStats:
        """How it is doing; what waits inside a replica counts as active."""
        status = "closing" if self._closing else "ready" if self._replicas else "starting"
        return EngineStats(status, 0, self._active, self.limit, self._replicas)

    @contextlib.contextmanager
    def _place(self):
        if self._closing:
            raise Unavailable("the server is shutting down.")
        if self._active >= self.limit:
            raise Busy(f"{self._active} requests are in the house, which is all that this server takes.")
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    async def _ask(self, method: str, request: Any) -> Any:
        with self._place():
            for attempt in range(TRIES):
                response = getattr(self._handle, method).remote(request)
                try:
                    return await self._in_time(response)
                except LOST as error:
                    await self._after(attempt, error)
                finally:
                    response.cancel()  # nothing where it is done

    async def _in_time(self, answer: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(_unwrapped(answer), self.timeout)
        except asyncio.TimeoutError as error:  # before Python 3.11 another class than TimeoutError
            raise TimedOut(f"no sound within {self.timeout:g} s; please try again later.") from error

    async def _after(self, attempt: int, error: Exception) -> None:
        """A replica died: waits a little for Ray to notice, or gives up."""
        self.lost += 1
        if attempt + 1 == TRIES:
            raise Unavailable(f"{TRIES} replicas were lost one after the other.") from error
        await asyncio.sleep(PAUSE_SECONDS * 2**attempt)

    async def _count_on(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # the controller may be busy or starting anew
                self._replicas = await asyncio.to_thread(self._count)
            await asyncio.sleep(self._every)


async def _unwrapped(answer: Awaitable[T | Failure]) -> T:
    try:
        value = await answer
    except RayTaskError as error:  # Ray's own class would show clients the replica's traceback
        raise error.cause from None
    except (RequestCancelledError, DeploymentUnavailableError) as error:
        raise Unavailable("the replicas of this server are not available.") from error
    if isinstance(value, Failure):
        raise value.error
    return value
