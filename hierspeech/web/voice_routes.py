"""/v1/audio/voices and /v1/models: what can be asked for."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from fastapi.responses import JSONResponse

from hierspeech.web.context import Context
from hierspeech.web.errors import ApiError
from hierspeech.web.protocol import PromptRequest
from hierspeech.web.responses import while_connected
from hierspeech.web.speech_routes import MODEL_ALIASES, check_model
from hierspeech.web.uploads import read_upload, recording_errors
from hierspeech.web.voices import MAX_NAME


def voice_routes(context: Context) -> APIRouter:
    """The endpoints about voices and models."""
    settings, engine, voices = context.settings, context.engine, context.voices
    router = APIRouter(prefix="/v1")

    @router.get("/audio/voices")
    async def list_voices(request: Request) -> dict:
        """Shipped voices and those that this key uploaded."""
        return {"voices": [voice.as_dict() for voice in voices.list(request.state.owner)]}

    @router.post("/audio/voices", status_code=201)
    async def upload_voice(
        request: Request,
        file: Annotated[UploadFile, File(description="3 s and more of one person who agreed to it.")],
        name: Annotated[str, Form(min_length=1, max_length=MAX_NAME, description="What lists show.")],
    ) -> JSONResponse:
        """Keeps what the models hear in a recording, not the recording."""
        name = " ".join(name.split())
        if not name or not name.isprintable():
            raise ApiError(400, "name: expected letters that can be printed.", "name")
        voices.check_room()
        recording = await read_upload(file, settings.max_upload)
        with recording_errors():
            wanted = PromptRequest(recording, settings.max_seconds)
            prompt = await while_connected(request, engine.make_prompt(wanted))
        return JSONResponse(voices.add(name, prompt, request.state.owner).as_dict(), 201)

    @router.delete("/audio/voices/{id}", status_code=204)
    async def delete_voice(id: str, request: Request) -> Response:
        """Forgets an uploaded voice."""
        voices.delete(id, request.state.owner)
        return Response(status_code=204)

    @router.get("/models")
    async def list_models() -> dict:
        """The server's voice, and the names of OpenAI's models that stand for it."""
        return {"object": "list", "data": [_model(name) for name in (settings.voice, *MODEL_ALIASES)]}

    @router.get("/models/{name}")
    async def one_model(name: str) -> dict:
        """One of them."""
        check_model(name, settings.voice)
        return _model(name)

    return router


def _model(name: str) -> dict:
    return {"id": name, "object": "model", "created": 0, "owned_by": "hierspeech"}
