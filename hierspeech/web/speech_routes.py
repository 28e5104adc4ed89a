"""POST /v1/audio/speech and POST /v1/audio/conversions: what OpenAI's clients send, checked, spoken and encoded."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from hierspeech.pipelines.output import Speech
from hierspeech.web.context import Context
from hierspeech.web.errors import ApiError
from hierspeech.web.formats import MEDIA_TYPES, Encoder, encode
from hierspeech.web.protocol import ConversionRequest, SpeechRequest
from hierspeech.web.responses import (
    ChunkedResponse,
    Stopwatch,
    audio_chunks,
    encoded,
    sse_chunks,
    while_connected,
)
from hierspeech.web.uploads import read_upload, recording_errors
from speech.text.marks import read_marks
from speech.text.scripts import check_languages

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
MODEL_ALIASES = (
    "tts-1",
    "tts-1-hd",
    "gpt-4o-mini-tts",
)  # what OpenAI's clients ask for; all are the one voice
SOUND = {200: {"content": {kind: {} for kind in [*MEDIA_TYPES.values(), "text/event-stream"]}}}


class VoiceId(BaseModel):
    """A voice as OpenAI's clients name uploaded ones."""

    id: str


class SpeechBody(BaseModel):
    """The body of POST /v1/audio/speech."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(min_length=1, description="The text to speak.")
    model: str = Field("tts-1", description="The server's voice, or one of OpenAI's names.")
    voice: str | VoiceId = Field(
        "alloy", description="One of GET /v1/audio/voices, or one of OpenAI's names."
    )
    response_format: Format = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0, allow_inf_nan=False)
    stream_format: Literal["audio", "sse"] | None = Field(
        None,
        description="In chunks while it is spoken; without it the whole is made first, at its own level.",
    )
    instructions: str | None = Field(None, description="Ignored, which a header says.")
    seed: Seed | None = Field(None, description="Equal seeds give equal speech.")
    language: str | None = Field(None, max_length=40, description="en-us or any espeak language.")
    pitch_shift: float = Field(0.0, ge=-12, le=12, allow_inf_nan=False, description="Semitones.")
    pitch_range: float = Field(1.0, ge=0, le=3, allow_inf_nan=False, description="0 is monotonous.")
    energy: float = Field(0.0, ge=-20, le=20, allow_inf_nan=False, description="dB above the level.")
    mix_with: str | None = Field(None, description="A second voice, which is mixed in.")
    mix: float | None = Field(None, ge=0, le=1, allow_inf_nan=False, description="Its share.")
    timestamps: bool = Field(False, description="Words with their times, as events; only with sse.")


def language_misfits(text: str, language: str | None, context: Context) -> list[str]:
    """What `LanguageWarning` says of a text; what cannot be read at all is said when it is spoken."""
    voices = context.voices
    try:
        return check_languages(
            read_marks(text).text, language or voices.description.language, voices.languages
        )
    except ValueError:
        return []


def speech_routes(context: Context) -> APIRouter:
    """The endpoints that give sound."""
    settings, engine, metrics = context.settings, context.engine, context.metrics
    router = APIRouter(prefix="/v1/audio")

    @router.post("/speech", response_class=Response, responses=SOUND)
    async def speech(body: SpeechBody, request: Request) -> Response:
        """Speaks a text."""
        watch = Stopwatch()
        check_model(body.model, settings.voice)
        if len(body.input) > settings.max_text:
            message = f"the text has {len(body.input)} characters, expected at most {settings.max_text}."
            raise ApiError(400, message, "input", "string_above_max_length")
        if body.timestamps and body.stream_format != "sse":
            raise ApiError(400, "timestamps come as events: expected stream_format 'sse'.", "timestamps")
        name = body.voice if isinstance(body.voice, str) else body.voice.id
        prompt = context.voices.prompt(name, request.state.owner)
        seed = fresh_seed() if body.seed is None else body.seed
        second = None
        if body.mix_with is not None:
            second = context.voices.prompt(body.mix_with, request.state.owner)
        wanted = SpeechRequest(
            body.input, prompt, body.language, body.speed, seed, settings.sample_rate,
            body.pitch_shift, body.pitch_range, body.energy, second, body.mix,
        )  # fmt: skip
        headers = sound_headers(settings.sample_rate, seed)
        if body.instructions:
            headers["X-Ignored"] = "instructions"
        if misfits := language_misfits(body.input, body.language, context):
            headers["X-Warning"] = " ".join(misfits).encode("ascii", "replace").decode()
        if body.stream_format is None and not settings.stream:
            spoken = await while_connected(request, engine.speak(wanted))
            metrics.characters.inc(len(body.input))
            return await whole(spoken, body.response_format, headers, "speech", watch)
        chunks = await begun(request, engine.stream(wanted))
        metrics.characters.inc(len(body.input))
        encoder = Encoder(body.response_format, settings.sample_rate)
        pairs = counted(encoded(chunks, encoder), watch)
        if body.stream_format == "sse":
            events = sse_chunks(pairs, len(body.input), body.timestamps, settings.sample_rate)
            return ChunkedResponse(events, "text/event-stream", headers, settings.timeout, ended(watch))
        media_type = MEDIA_TYPES[body.response_format]
        return ChunkedResponse(audio_chunks(pairs), media_type, headers, settings.timeout, ended(watch))

    @router.post("/conversions", response_class=Response, responses=SOUND)
    async def conversions(
        request: Request,
        file: Annotated[UploadFile, File(description="The recording whose words are kept.")],
        voice: Annotated[str, Form(description="The voice to speak with.")] = "alloy",
        response_format: Annotated[Format, Form()] = "mp3",
        seed: Annotated[Seed | None, Form()] = None,
    ) -> Response:
        """Speaks a recording again in another voice."""
        watch = Stopwatch()
        prompt = context.voices.prompt(voice, request.state.owner)
        recording = await read_upload(file, settings.max_upload)
        seed = fresh_seed() if seed is None else seed
        wanted = ConversionRequest(recording, prompt, seed, settings.sample_rate, settings.max_seconds)
        with recording_errors():
            spoken = await while_connected(request, engine.convert(wanted))
        headers = sound_headers(settings.sample_rate, seed)
        return await whole(spoken, response_format, headers, "conversions", watch)

    async def whole(
        spoken: Speech, name: Format, headers: dict[str, str], endpoint: str, watch: Stopwatch
    ) -> Response:
        data = await run_in_threadpool(encode, spoken.audio, spoken.sample_rate, name)
        metrics.audio.labels(endpoint).inc(spoken.seconds)
        metrics.first_byte.labels(endpoint, "whole").observe(watch.seconds)
        metrics.latency.labels(endpoint).observe(watch.seconds)
        return Response(data, 200, headers, MEDIA_TYPES[name])

    async def counted(
        pairs: AsyncIterator[tuple[Speech | None, bytes]], watch: Stopwatch
    ) -> AsyncGenerator[tuple[Speech | None, bytes], None]:
        first = True
        try:
            async for spoken, data in pairs:
                if first and data:
                    first = False
                    metrics.first_byte.labels("speech", "stream").observe(watch.seconds)
                if spoken is not None:
                    metrics.audio.labels("speech").inc(spoken.seconds)
                yield spoken, data
        finally:
            await pairs.aclose()

    def ended(watch: Stopwatch):
        def tell(complete: bool) -> None:
            metrics.latency.labels("speech").observe(watch.seconds)
            if not complete:
                metrics.disconnected.inc()

        return tell

    return router


async def begun(request: Request, chunks: AsyncGenerator[Speech, None]) -> AsyncGenerator[Speech, None]:
    """The same chunks, of which the first is there already: what is wrong with a request is said with a status."""
    try:
        first = await while_connected(request, anext(chunks, None))
        if first is None:
            raise ValueError("the text has nothing that can be spoken.")
    except BaseException:
        await chunks.aclose()
        raise

    async def all_of_them() -> AsyncGenerator[Speech, None]:
        try:
            yield first
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    return all_of_them()


def fresh_seed() -> int:
    """A seed that a client can send again: JavaScript knows no whole numbers beyond 2**53."""
    return secrets.randbelow(2**32)


def check_model(model: str, voice: str) -> None:
    """404, as OpenAI's, for a model that is not the server's."""
    if model != voice and not any(model == name or model.startswith(f"{name}-") for name in MODEL_ALIASES):
        known = ", ".join([voice, *MODEL_ALIASES])
        raise ApiError(
            404, f"unknown model {model[:80]!r}: expected one of {known}.", "model", "model_not_found"
        )


def sound_headers(sample_rate: int, seed: int) -> dict[str, str]:
    """What every sound is sent with."""
    return {"X-Sample-Rate": str(sample_rate), "X-Seed": str(seed)}
