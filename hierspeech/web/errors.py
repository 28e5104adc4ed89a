"""Everything that goes wrong as OpenAI's clients expect it: {"error": {"message", "type", "param", "code"}}."""

import logging
import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hierspeech.web.protocol import Busy, Refused, TimedOut

logger = logging.getLogger(__name__)
CODES = {
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    429: "rate_limit_exceeded",
    503: "unavailable",
    504: "timeout",
}


class ApiError(HTTPException):
    """A request that is refused, with the parameter that is to blame."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None):
        super().__init__(status, message)
        self.param, self.code = param, code


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict:
    """The JSON of an error."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, kind)
    # what a client sent may hold half of a surrogate pair, which no response can
    message = message.encode("utf-8", "backslashreplace").decode()
    return {"error": {"message": message, "type": kind, "param": param, "code": code or CODES.get(status)}}


def error_response(
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The same as a response."""
    return JSONResponse(error_body(status, message, param, code), status, headers)


def describe(error: Exception) -> tuple[int, str]:
    """Status and sentence of an error while speech is made; what was not expected is not told to clients."""
    if isinstance(error, Busy):
        return 429, str(error)
    if isinstance(error, TimedOut):
        return 504, str(error)
    if isinstance(error, Refused):
        return 503, str(error)
    if isinstance(error, ValueError):
        return 400, " ".join(str(error).split())
    return 500, "the server failed to answer; its log says why."


def add_error_handlers(app: FastAPI) -> None:
    """Makes `app` answer so."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException):
        param, code = getattr(error, "param", None), getattr(error, "code", None)
        return error_response(error.status_code, str(error.detail), param, code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError):
        first = error.errors()[0]
        where = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
        if first["type"] == "json_invalid":
            return error_response(400, "the body is not JSON.", code="invalid_json")
        name = ".".join(where) or None
        message = f"{name or 'the body'}: {first['msg'][:1].lower()}{first['msg'][1:]}."
        return error_response(400, message, name)

    @app.exception_handler(Refused)
    @app.exception_handler(ValueError)
    async def _refused(request: Request, error: Exception):
        status, message = describe(error)
        retry = (
            {"Retry-After": str(max(1, math.ceil(error.retry_after)))} if isinstance(error, Busy) else None
        )
        return error_response(status, message, headers=retry)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception):
        return error_response(*describe(RuntimeError()))  # Starlette logs it
