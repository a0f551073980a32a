"""Work that goes on beside requests, for as long as the application runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def in_background(rounds: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Runs ``rounds``, which never ends by itself, while the block lasts."""
    task = asyncio.create_task(rounds)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
