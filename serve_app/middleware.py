"""ASGI middleware: request ids, both forms of each path, limits of bodies."""

from __future__ import annotations

import json
import re
from uuid import uuid4

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import AppError, BodyTooLarge, InvalidInput, PhotoTooLarge
from serve_app.problems import MEDIA_TYPE, problem_body
from serve_app.request_note import CURRENT, RequestNote

FEED_PATH = "/api/image-collection/bulk/"
PHOTO_PATHS = ("/api/image-collection/", "/api/recommendations/", "/api/tags/")
MAX_BODY_BYTES = 256 * 1024
CHARSETS = {b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1", b"windows-1252"}
_DIGITS = re.compile(r"[0-9]+")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Gives each request an id: the client's ``X-Request-ID``, if sane, or Serve's.

    Serve itself sends that header back; a second one here would be joined to it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        CURRENT.set(RequestNote(request_id))
        await self._app(scope, receive, send)


class ResponseHeaders:
    """Adds what a request's handlers noted in its state to its answer, an error's too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        noted: dict[str, str] = scope.setdefault("state", {}).setdefault("response_headers", {})

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and noted:
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers.update(noted)
            await send(message)

        await self._app(scope, receive, with_headers)


class TrailingSlash:
    """``/api/x`` is answered as ``/api/x/``: both forms work, without a redirect that drops bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else "/"
        if (path.startswith("/api/") or path == "/admin") and not path.endswith("/"):
            scope = {**scope, "path": path + "/"}
        await self._app(scope, receive, send)


class _BodyTooLarge(Exception):
    pass


class BodyLimit:
    """Refuses a body that is too long by its Content-Length, or as soon as that much has arrived.

    Only photos need much: JSON is parsed on the event loop, where 27 MB of brackets take seconds.
    """

    def __init__(self, app: ASGIApp, photo_bytes: int, feed_bytes: int) -> None:
        """``photo_bytes``: of bodies that may hold a photo, ``feed_bytes``: of feeds, which are stored as
        they come; others have ``MAX_BODY_BYTES``."""
        self._app = app
        self._photo_bytes, self._feed_bytes = photo_bytes, feed_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = self._limit(scope["path"])
        declared = Headers(scope=scope).get("content-length", "")
        if _DIGITS.fullmatch(declared) and (len(declared) > 18 or int(declared) > max_bytes):
            await _refuse(scope, send, _too_large(scope, max_bytes))
            return
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise _BodyTooLarge
            return message

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, counted, noting_start)
        except _BodyTooLarge:
            if not started:
                await _refuse(scope, send, _too_large(scope, max_bytes))

    def _limit(self, path: str) -> int:
        if path == FEED_PATH:
            return self._feed_bytes
        return self._photo_bytes if path.startswith(PHOTO_PATHS) else MAX_BODY_BYTES


class FormCharset:
    """Refuses forms in rare encodings: some make text that nothing can store, some fail for any text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            kind, options = parse_options_header(Headers(scope=scope).get("content-type"))
            if kind == b"multipart/form-data" and options.get(b"charset", b"utf-8").lower() not in CHARSETS:
                error = InvalidInput("The form's charset is not supported. Send the form as UTF-8.")
                await _refuse(scope, send, error)
                return
        await self._app(scope, receive, send)


def _too_large(scope: Scope, max_bytes: int) -> AppError:
    text = f"The request body exceeds {max_bytes:,} bytes."
    if scope["path"] == FEED_PATH:
        return BodyTooLarge(f"{text} Send the feed in parts, as incremental imports one after the other.")
    if scope["path"].startswith(PHOTO_PATHS):
        return PhotoTooLarge(f"{text} Send a smaller photo, or fewer of them.")
    return BodyTooLarge(f"{text} No request to this address needs as much.")


async def _refuse(scope: Scope, send: Send, error: AppError) -> None:
    """Before the body was read; so the connection ends."""
    body = json.dumps(problem_body(error, scope["state"]["request_id"])).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
