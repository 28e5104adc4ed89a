"""The web application: `create_app(engine, settings)` is all there is to it, whatever the engine is."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hierspeech.web.context import Context
from hierspeech.web.errors import ApiError, add_error_handlers
from hierspeech.web.metrics import Metrics
from hierspeech.web.protocol import Engine
from hierspeech.web.responses import ClientGone
from hierspeech.web.security import Gate
from hierspeech.web.settings import Settings
from hierspeech.web.speech_routes import speech_routes
from hierspeech.web.voice_routes import voice_routes
from hierspeech.web.voices import VoiceStore

logger = logging.getLogger(__name__)
STATIC = Path(__file__).resolve().parent / "static"


def create_app(engine: Engine, settings: Settings, voices: VoiceStore | None = None) -> FastAPI:
    """The application.

    Args:
        engine: what speaks; it is started and closed with the application.
        settings: limits, keys and the voice's name.
        voices: the voices that may be asked for (default: those of `settings`).
    """
    voices = voices or VoiceStore(settings.voice, settings.max_voices, settings.voices_folder)
    context = Context(settings, engine, voices, Metrics(engine))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        yield
        await engine.close()

    # no /docs: its page loads scripts from elsewhere; /openapi.json is there
    app = FastAPI(title="hierspeech", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.context = context
    add_error_handlers(app)
    app.include_router(speech_routes(context))
    app.include_router(voice_routes(context))
    _add_state_routes(app, context)
    _add_page(app)
    app.add_middleware(Gate, settings=settings)
    app.add_middleware(_Counter, metrics=context.metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["x-sample-rate", "x-seed", "x-ignored", "x-warning", "retry-after"],
        )
    return app


def _add_state_routes(app: FastAPI, context: Context) -> None:
    @app.get("/health")
    async def health() -> JSONResponse:
        """200 when the server can speak at once, 503 before and after."""
        stats = context.engine.stats()
        queue = {"waiting": stats.waiting, "active": stats.active, "limit": stats.limit}
        body = {"status": stats.status, "ready": stats.status == "ready", "voice": context.settings.voice}
        return JSONResponse(
            body | {"queue": queue, "replicas": stats.replicas}, 200 if body["ready"] else 503
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(context.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(ClientGone)
    async def gone(request: Request, error: ClientGone) -> Response:
        context.metrics.disconnected.inc()
        return Response(status_code=499)  # nobody reads it; nginx's number for it


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        if not (STATIC / "index.html").is_file():
            raise ApiError(404, "this server has no web page.")
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    if STATIC.is_dir():
        app.mount("/static", StaticFiles(directory=STATIC), name="static")


class _Counter:
    """Middleware: counts answers by endpoint and status, and refusals by reason."""

    REASONS = {401: "key", 403: "origin", 413: "size", 429: "queue", 503: "unavailable", 504: "timeout"}

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = scope["type"] != "http"

        async def counting(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._count(scope, message["status"])
            await send(message)

        try:
            await self.app(scope, receive, counting)
        except Exception:
            if not started:  # answered by Starlette, further out
                self._count(scope, 500)
            raise

    def _count(self, scope: Scope, status: int) -> None:
        route = getattr(
            scope.get("route"), "path", "other"
        )  # never the path itself: anybody can invent those
        self.metrics.requests.labels(route, str(status)).inc()
        if reason := self.REASONS.get(status):
            self.metrics.rejected.labels(reason).inc()
