"""ASGI middleware: request ids, both forms of each path, a limit on bodies."""

from __future__ import annotations

import json
import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import PhotoTooLarge
from serve_app.problems import problem_body

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
    """Refuses a body over ``max_bytes`` by its Content-Length, or as soon as that much has arrived."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await self._refuse(scope, send)
            return
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
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
                await self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        error = PhotoTooLarge(f"The request body exceeds {self._max_bytes:,} bytes. Send a smaller photo.")
        body = json.dumps(problem_body(error, scope["state"]["request_id"])).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": error.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": body})
