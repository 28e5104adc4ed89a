"""The server on many machines: a Ray Serve application of one front, which has the endpoints, and replicas, which have the models.

    python serve.py --ray --replicas 2 --max-replicas 8             # a cluster of this machine, or of --ray-address
    serve run hierspeech.web.ray_app:application voice=lite replicas=2   # Ray's own command line, or a config file of `serve deploy`

Front and replicas are the parts that `serve.py` has in one process: `create_app`, and `LocalEngine` with its batches. The front keeps
the uploaded voices and passes them on with each request; so replicas hold nothing that could be lost with them (docs/cluster.md).
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unless it is asked for

import ray
from ray import serve
from ray.serve import Application

from hierspeech.pipelines.output import Speech
from hierspeech.pipelines.prompt import VoicePrompt
from hierspeech.web.app import create_app
from hierspeech.web.engine import LocalEngine
from hierspeech.web.protocol import ConversionRequest, PromptRequest, Refused, SpeechRequest
from hierspeech.web.ray_engine import Failure, RayEngine
from hierspeech.web.server import SHUTDOWN_SECONDS, listen
from hierspeech.web.settings import Settings

NAME = "hierspeech"
T = TypeVar("T")
CONNECT_SECONDS = 5.0
TUPLES = ("api_keys", "cors_origins", "allowed_hosts")


@dataclass(frozen=True)
class Scale:
    """How many replicas, and what each is given.

    Raises:
        ValueError: a value outside its range, in one sentence.
    """

    replicas: int = 1  # at least
    max_replicas: int = 0  # at most, as many as the load asks for; 0: `replicas`, always
    cpus: float = 1.0  # of each
    gpus: float = 0.0  # of each; a share of one is allowed
    ongoing: float = 4.0  # requests at a replica that are worth another replica

    def __post_init__(self):
        if self.replicas < 1:
            raise ValueError(f"--replicas {self.replicas}: expected 1 or more.")
        if self.max_replicas and self.max_replicas < self.replicas:
            raise ValueError(
                f"--max-replicas {self.max_replicas}: expected 0 or {self.replicas} (--replicas) or more."
            )
        for name, value, least in (
            ("cpus", self.cpus, 0.1),
            ("gpus", self.gpus, 0),
            ("ongoing", self.ongoing, 0.1),
        ):
            if not value >= least:
                raise ValueError(f"--{name}-per-replica {value:g}: expected {least:g} or more.")


class Speaker:
    """A replica: the engine of one process. Requests that it has at the same time share batches.

    Methods are those of `protocol.Engine`, but what is wrong with a request is given back, not raised: Ray would log it, and with
    it what the request says.
    """

    async def __init__(self, settings: Settings):
        self.engine = LocalEngine(settings)
        await self.engine.start()

    async def speak(self, request: SpeechRequest) -> Speech | Failure:
        return await _told(self.engine.speak(request))

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[Speech | Failure, None]:
        try:
            async for chunk in self.engine.stream(request):
                yield chunk
        except (ValueError, Refused) as error:
            yield Failure(error)

    async def convert(self, request: ConversionRequest) -> Speech | Failure:
        return await _told(self.engine.convert(request))

    async def make_prompt(self, request: PromptRequest) -> VoicePrompt | Failure:
        return await _told(self.engine.make_prompt(request))

    async def pid(self) -> int:
        """Of the process; a test ends it."""
        return os.getpid()

    def check_health(self) -> None:
        """Ray replaces a replica for which this raises."""
        if self.engine.stats().status == "failed":
            raise RuntimeError("the voice cannot be used")


async def _told(answer: Awaitable[T]) -> T | Failure:
    try:
        return await answer
    except (ValueError, Refused) as error:
        return Failure(error)


def build(settings: Settings, scale: Scale) -> Application:
    """The application, for `serve.run`."""
    # requests wait in the replicas, where they are batched; the front refuses what is too much
    options: dict[str, Any] = {
        "name": "Speaker",
        "max_ongoing_requests": settings.queue,
        "ray_actor_options": {"num_cpus": scale.cpus, "num_gpus": scale.gpus},
        "graceful_shutdown_timeout_s": SHUTDOWN_SECONDS,
        "health_check_period_s": 5,
    }
    if scale.max_replicas > scale.replicas:
        options["autoscaling_config"] = {
            "min_replicas": scale.replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": scale.ongoing,
        }
    else:
        options["num_replicas"] = scale.replicas
    speakers = serve.deployment(Speaker).options(**options)

    def front():
        handle = serve.get_deployment_handle("Speaker", app_name=serve.get_replica_context().app_name)
        return create_app(RayEngine(handle, settings.queue, settings.timeout, running), settings)

    @serve.deployment(name="Front", max_ongoing_requests=10_000, ray_actor_options={"num_cpus": 0})
    @serve.ingress(front)
    class Front:
        """The endpoints. There is one of it: it keeps the uploaded voices and bounds what is in the house."""

        def __init__(self, speakers: Any):
            pass

    return Front.bind(speakers.bind(settings))


def application(args: dict[str, Any]) -> Application:
    """For `serve run` and `serve deploy`: arguments are the fields of `Settings` and `Scale` by name.

    Raises:
        ValueError: a name that is none of them, or a value outside its range.
    """
    known = {field.name: field.type for kind in (Settings, Scale) for field in fields(kind)}
    if unknown := sorted(set(args) - set(known)):
        raise ValueError(f"unknown argument {unknown[0]!r}: expected one of {', '.join(sorted(known))}.")
    values = {name: _typed(name, value, known[name]) for name, value in args.items()}
    mine = {field.name for field in fields(Scale)}
    return build(
        Settings(**{name: value for name, value in values.items() if name not in mine}),
        Scale(**{name: value for name, value in values.items() if name in mine}),
    )


def _typed(name: str, value: Any, kind: Any) -> Any:
    """What a YAML file or Ray's command line, where all is text, says."""
    if name in TUPLES:
        return tuple(value.split(",") if isinstance(value, str) else value)
    if name == "voices_folder":
        return Path(value)
    if kind is bool:
        return str(value).lower() in ("1", "true", "yes")
    try:
        return kind(value)
    except ValueError as error:
        raise ValueError(f"{name} {value!r}: expected {kind.__name__}.") from error


def running() -> int:
    """Replicas that are ready."""
    deployments = serve.status().applications[serve.get_replica_context().app_name].deployments
    return deployments["Speaker"].replica_states.get("RUNNING", 0)


def serve_on_ray(settings: Settings, scale: Scale, address: str | None, say: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM; ValueError where the voice, the port, Ray or enough of it cannot be had.

    Args:
        address: of a Ray cluster, "auto" for the one of this machine; None starts one that ends with the server.
    """
    create_app(
        LocalEngine(settings), settings
    )  # what is wrong with the voice or its folder is said here, at once
    if address is None:
        listener = listen(settings.host, settings.port)
        settings = replace(settings, port=listener.getsockname()[1])  # of 0, any free one
        listener.close()
    else:
        _check_address(address)
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f"--ray-address {address}: no Ray cluster there ({error}).") from error
    try:
        wanted = scale.cpus * scale.replicas
        there = ray.cluster_resources().get("CPU", 0)
        if wanted > there:
            raise ValueError(
                f"--replicas {scale.replicas} of {scale.cpus:g} CPUs: the cluster has {there:g}, "
                "expected as many; see --cpus-per-replica."
            )
        logging.getLogger("ray.serve").setLevel(logging.WARNING)  # what matters is said below
        serve.start(http_options={"host": settings.host, "port": settings.port})
        say(f"starting {scale.replicas} replicas of the voice {settings.voice}")
        serve.run(build(settings, scale), name=NAME, route_prefix="/")
        say(f"serving the voice {settings.voice} at http://{settings.host}:{settings.port}; Ctrl-C stops it")
        _wait_for_signal()
        serve.delete(NAME)
        if address is None:
            serve.shutdown()
    finally:
        ray.shutdown()
    say("stopped")


def _check_address(address: str) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if "//" in address or not colon or not port.isdigit():
        return  # "auto", ray://...
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"--ray-address {address}: nothing answers there ({error}).") from error


def _wait_for_signal() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(1.0):  # with a timeout: else Python does not run the handler on all systems
        pass
