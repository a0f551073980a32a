"""/api/export/: all that the shop has, as a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from serve_app.export import ExportOptions
from serve_app.export import export as export_lines
from serve_app.routes.dependencies import CallerDep, PresenterDep, ServicesDep

logger = logging.getLogger("serve_app")
router = APIRouter(prefix="/api/export", tags=["shop"])
STALL_S = 60.0


class _Stream(StreamingResponse):
    """Ends when the client has read nothing for ``STALL_S``, and gives its turn back however it ends."""

    media_type = "application/x-ndjson"

    def __init__(
        self, lines: AsyncIterator[bytes], headers: dict[str, str], at_end: Callable[[], None]
    ) -> None:
        super().__init__(lines, headers=headers)
        self._at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(STALL_S):
                await send(message)

        try:
            await super().__call__(scope, receive, in_time)
        except (ClientDisconnect, TimeoutError):
            logger.info("an export was given up: its client does not read any more")
        finally:
            self._at_end()


@router.get(
    "/",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "Lines of JSON."}},
)
async def export(
    services: ServicesDep,
    caller: CallerDep,
    presenter: PresenterDep,
    photos: bool = False,
    vectors: bool = False,
) -> _Stream:
    """All that the shop has, as lines of JSON. It is complete if the last line's type is `end`."""
    services.exports.begin(caller.shop_id)
    lines = export_lines(services, caller.shop_id, presenter.detail, ExportOptions(photos, vectors))
    name = f"shop-{caller.shop_id}-{datetime.now(UTC):%Y-%m-%d}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return _Stream(lines, headers, lambda: services.exports.end(caller.shop_id))
