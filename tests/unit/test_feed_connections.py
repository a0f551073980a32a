from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from serve_app.feed_connections import UNHURRIED, middlewares

OWN = [(b"host", b"x"), (b"x-request-timeout-seconds", b"7")]


async def passed_on(scope: dict[str, Any]) -> Any:
    """What Serve gets of a request."""
    found: list[Scope] = []

    async def serve(scope: Scope, _: Receive, __: Send) -> None:
        found.append(scope)

    (middleware,) = middlewares()
    await middleware.cls(serve, *middleware.args, **middleware.kwargs)(scope, None, None)  # type: ignore[arg-type]
    return found[0]


@pytest.mark.parametrize("path", ["/api/image-collection/bulk", "/api/image-collection/bulk/"])
async def test_feeds_take_their_time(path: str) -> None:
    scope = {"type": "http", "path": path, "headers": OWN}
    assert (await passed_on(scope))["headers"] == [OWN[0], *UNHURRIED]
    assert scope["headers"] is OWN


async def test_nobody_else_does() -> None:
    for path in ("/api/image-collection/", "/api/image-collection/bulk/x", "/bulk"):
        scope = {"type": "http", "path": path, "headers": OWN}
        assert await passed_on(scope) is scope
    lifespan = {"type": "lifespan"}
    assert await passed_on(lifespan) is lifespan
