"""Answers that browsers let a shop's web page read (the Fetch standard's CORS protocol)."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

SHOPPER_PATHS = re.compile(
    r"/api/(recommendations|events|image-collection/[0-9]+/similar|(categories|styles|age-groups)(/[0-9]+)?)/"
)
EXPOSED = "RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
PREFLIGHT_HEADERS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, X-API-Key, X-Request-ID"),
    (b"access-control-max-age", b"7200"),
    (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
]


def readable_by(origin: str) -> dict[str, str]:
    """Headers of an answer, an error too, that pages of ``origin`` may read."""
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}


class Preflight:
    """Answers a browser's question before a request to the shoppers' routes: yes, whoever asks.

    The question carries no key, so it cannot be answered per key; the request itself is (docs/decisions).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_preflight(scope):
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 204, "headers": list(PREFLIGHT_HEADERS)})
        await send({"type": "http.response.body", "body": b""})


def _is_preflight(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "OPTIONS" or not SHOPPER_PATHS.fullmatch(scope["path"]):
        return False
    headers = Headers(scope=scope)
    return "origin" in headers and "access-control-request-method" in headers
