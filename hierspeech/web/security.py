"""What stands before every request: who may ask, how much may be sent, and the headers that browsers heed.

Plain ASGI, since Starlette's BaseHTTPMiddleware hides from an endpoint that its client went away.
"""

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hierspeech.web.errors import ApiError, error_response
from hierspeech.web.settings import Settings

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cross-origin-resource-policy": "same-origin",
}
OPEN_PATHS = ("/", "/health", "/favicon.ico")  # without a key; and /static/
FORM_BYTES = 16_384  # of a multipart body besides the recording
JSON_BYTES_PER_CHAR = 12  # of a JSON text: an escaped surrogate pair


class Gate:
    """Middleware: keys, host and origin, size of the body, security headers."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app, self.settings = app, settings
        self._keys = [_digest(key) for key in settings.api_keys]
        self._max_json = JSON_BYTES_PER_CHAR * settings.max_text + FORM_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        is_page = scope["path"].startswith("/static/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                extra = HEADERS | {"cache-control": "no-cache" if is_page else "no-store"}
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in extra.items() if n.encode() not in present),
                ]
            await send(message)

        try:
            self._check_origin(headers)
            scope.setdefault("state", {})["owner"] = self._owner(scope["path"], headers)
            limit = self._limit(headers)
            length = headers.get("content-length", "")
            if length.isdecimal() and int(length) > limit:
                raise too_large(limit)
        except ApiError as error:
            extra = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else None
            response = error_response(error.status_code, error.detail, error.param, error.code, extra)
            await response(scope, receive, send_with_headers)
            return
        await self.app(scope, _bounded(receive, limit), send_with_headers)

    def _limit(self, headers: dict[str, str]) -> int:
        """Bytes that a body of this kind may have."""
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        return self.settings.max_upload + FORM_BYTES if is_form else self._max_json

    def _owner(self, path: str, headers: dict[str, str]) -> str:
        """Whose request it is: a digest of the key, "" without keys; 401 for a wrong or missing one."""
        if not self._keys or path in OPEN_PATHS or path.startswith("/static/"):
            return ""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip())
        matches = [hmac.compare_digest(given, known) for known in self._keys]  # all of them, in constant time
        if scheme.lower() != "bearer" or not any(matches):
            raise ApiError(
                401, "this server needs an API key: expected the header Authorization: Bearer KEY."
            )
        return hashlib.sha256(b"owner " + given).hexdigest()[:32]

    def _check_origin(self, headers: dict[str, str]) -> None:
        """403 for a host that is not ours, and for web pages that come from elsewhere: a browser sends what they like."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname if host else None
        allowed = self.settings.hosts
        if allowed and (name or "") not in allowed:
            raise ApiError(403, f"this server is not called {str(name)[:80]!r}: see --allowed-host.")
        origin = headers.get("origin")
        if origin and origin not in self.settings.cors_origins and urlsplit(origin).netloc != host:
            raise ApiError(403, "web pages of another origin may not call this server: see --cors-origin.")


def too_large(limit: int) -> ApiError:
    """The refusal of a body of more than `limit` bytes."""
    return ApiError(413, f"the request is longer than {limit} bytes, which is all that this server takes.")


def _bounded(receive: Receive, limit: int) -> Receive:
    """`receive` that counts what really comes: a chunked body has no length in its head."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise too_large(limit)
        return message

    return counted


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
