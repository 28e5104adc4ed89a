"""The application under uvicorn."""

import contextlib
import socket
from collections.abc import Callable

import uvicorn

from hierspeech.web.app import create_app
from hierspeech.web.engine import LocalEngine
from hierspeech.web.settings import LOOPBACK, Settings

BACKLOG = 512  # connections that the system holds
SPARE_CONNECTIONS = 512  # besides those of the queue: idle ones, health checks, refusals
SHUTDOWN_SECONDS = 30  # that running requests have when the server is asked to stop


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM; ValueError where the voice or the port cannot be had."""
    app = create_app(LocalEngine(settings), settings)
    listener = listen(settings.host, settings.port)
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if settings.host not in LOOPBACK and not settings.api_keys:
        say("without API keys: whoever reaches the port may speak and upload")
    say(f"serving the voice {settings.voice} at http://{host}:{port}; Ctrl-C stops it")
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn repeats it when all is ended in order
        make_server(app, settings.queue + SPARE_CONNECTIONS).run(sockets=[listener])
    say("stopped")


def make_server(app, connections: int | None = None) -> uvicorn.Server:
    """uvicorn as it suits this application; beyond so many connections it answers 503."""
    config = uvicorn.Config(
        app,
        log_level="warning",  # requests are counted, not logged: a text is its sender's
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        limit_concurrency=connections,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; ValueError where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)  # from now on whoever connects is waited with, not refused
    except OSError as error:
        listener.close()
        raise ValueError(f"--host {host} --port {port}: cannot be listened at ({error.strerror}).") from error
    return listener
