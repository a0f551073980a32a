"""How much background work runs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from db.session import Database
from serve_app.deployments.work_loop import WorkLoop


class OpenDatabase:
    async def run(self, work: Callable[[Any], int | None]) -> int | None:
        return work(None)


async def test_more_work_begins_as_soon_as_more_may_run() -> None:
    most, running, ended = 2, 0, asyncio.Event()

    async def carry_out(work: int) -> None:  # noqa: ARG001
        nonlocal running
        running += 1
        await ended.wait()

    database = cast(Database, OpenDatabase())
    loop = WorkLoop(database, lambda _: 1, carry_out, max_running=lambda: most, poll_interval_s=0.01)
    task = asyncio.create_task(loop.run())
    await asyncio.sleep(0.05)
    assert running == 2
    most = 5
    await asyncio.sleep(0.05)
    assert running == 5
    task.cancel()
    ended.set()
