"""Counts each request, and writes one line of it: who asked which route, what was answered, how long it took.

Neither holds a path, a query or a body: they may carry what nobody else should read, and are without number.
"""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.measures import RequestCounts
from serve_app.request_note import CURRENT

logger = logging.getLogger("serve_app.requests")
METHODS = {"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"}
ADMIN = "/admin"
OTHER = "other"
CLIENT_LEFT = 499  # as nginx has it


class RequestLog:
    """ASGI middleware, around everything that may answer a request of known path."""

    def __init__(self, app: ASGIApp, requests: RequestCounts) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 0, time.perf_counter()

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_status)
        except asyncio.CancelledError:
            status = status or CLIENT_LEFT
            raise
        finally:  # what is raised is answered outside, with 500
            self._note(scope, status or 500, (time.perf_counter() - started) * 1000)

    def _note(self, scope: Scope, status: int, took_ms: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = template(scope)
        self._requests.add(method, route, status)
        if not logger.isEnabledFor(logging.INFO):
            return
        note = CURRENT.get()
        asked = {} if note is None else note.fields()
        fields = {**asked, "method": method, "route": route, "status": status, "ms": round(took_ms, 1)}
        logger.info(
            "%s %s %d %.1fms shop=%s key=%s",
            *(method, route, status, took_ms, asked.get("shop_id", "-"), asked.get("key_id", "-")),
            extra=fields,
        )


def template(scope: Scope) -> str:
    """The route as it is declared, such as ``/api/jobs/{job_id}/``; the admin's pages are one."""
    if scope["path"].startswith(ADMIN):
        return ADMIN
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else OTHER
