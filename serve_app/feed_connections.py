"""How Serve handles the connections of feeds, which may send gigabytes for an hour.

Serve reads a body ahead into memory, to learn at once when a client has gone, and ends every request after
``request_timeout_s``. Both can be switched off per request by headers, which this middleware sets: it runs
in front of Serve's own code, in every process that takes requests. The route itself gives up a client that
stalls (``serve_app.routes.feeds``).
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

FEED_PATH = "/api/image-collection/bulk"
UNHURRIED = [(b"x-request-disconnect-disabled", b"?1"), (b"x-request-timeout-seconds", b"0")]


class UnhurriedFeeds:
    """Sets the headers for feeds, whatever the client says of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/") == FEED_PATH:
            names = {name for name, _ in UNHURRIED}
            others = [one for one in scope["headers"] if one[0].lower() not in names]
            scope = {**scope, "headers": others + UNHURRIED}
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` names."""
    return [Middleware(UnhurriedFeeds)]
