"""How much background work runs at a time, and that nothing is claimed where nothing can wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any, cast

from db.session import Database
from db.work_signs import WorkSigns
from models.errors import DependencyUnavailable
from serve_app.background import in_background
from serve_app.deployments import work_loop
from serve_app.deployments.work_loop import Lookout, WorkLoop

NOTHING = WorkSigns(*[False] * len(WorkSigns._fields))


class OpenDatabase:
    """``signs``: what a look finds."""

    def __init__(self, signs: WorkSigns = NOTHING) -> None:
        self.signs = signs
        self.looks = 0

    async def run(self, work: Callable[[Any], int | None]) -> int | None:
        return work(None)

    async def read(self, query: Callable[[Any], object]) -> WorkSigns:
        assert query is work_loop.work_signs.look
        self.looks += 1
        if self.looks == 2:
            raise DependencyUnavailable("The database does not answer.")
        return self.signs


@asynccontextmanager
async def loop_running(
    database: OpenDatabase, claim: Callable[[Any], int | None], carry_out: Any, most: Callable[[], int]
) -> AsyncIterator[None]:
    lookout = Lookout(cast(Database, database), poll_interval_s=0.01)
    loop = WorkLoop(
        cast(Database, database), lookout, attrgetter("mails"), claim, carry_out, max_running=most
    )
    async with in_background(lookout.follow()), in_background(loop.run()):
        yield


async def test_more_work_begins_as_soon_as_more_may_run() -> None:
    most, running, ended = 2, 0, asyncio.Event()

    async def carry_out(_: int) -> None:
        nonlocal running
        running += 1
        await ended.wait()

    database = OpenDatabase(NOTHING._replace(mails=True))
    database.looks = 2
    async with loop_running(database, lambda _: 1, carry_out, lambda: most):
        await asyncio.sleep(0.05)
        assert running == 2
        most = 5
        await asyncio.sleep(0.05)
        assert running == 5
        ended.set()


async def test_work_is_claimed_when_there_is_a_sign_of_it_and_until_there_is_none(monkeypatch: Any) -> None:
    monkeypatch.setattr(work_loop, "ERROR_PAUSE_S", 0.01)
    waiting, claims, done = 0, 0, []

    def claim(_: Any) -> int | None:
        nonlocal waiting, claims
        claims += 1
        waiting -= 1
        return waiting if waiting >= 0 else None

    async def carry_out(work: int) -> None:
        done.append(work)

    database = OpenDatabase(NOTHING._replace(jobs=True))
    async with loop_running(database, claim, carry_out, lambda: 2):
        await asyncio.sleep(0.1)
        assert database.looks > 3  # one that failed among them
        assert claims == 0
        waiting, database.signs = 5, NOTHING._replace(mails=True)
        await asyncio.sleep(0.1)
        assert done == [4, 3, 2, 1, 0]
        database.signs = NOTHING
        await asyncio.sleep(0.05)
        claims_before = claims
        await asyncio.sleep(0.05)
        assert claims == claims_before
