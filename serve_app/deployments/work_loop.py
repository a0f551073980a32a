"""One kind of background work: claim it from PostgreSQL, carry it out, look again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ray.exceptions import RayError
from sqlalchemy.orm import Session

from db import work_signs
from db.session import Database
from db.work_signs import WorkSigns
from models.errors import AppError

logger = logging.getLogger("serve_app")
ERROR_PAUSE_S = 2.0
Work = TypeVar("Work")


class Lookout:
    """Looks for all kinds of work at once, so that an idle service asks PostgreSQL for one thing, not ten."""

    def __init__(self, database: Database, poll_interval_s: float) -> None:
        self._database, self._poll_interval_s = database, poll_interval_s
        self._looked = asyncio.Event()
        self.signs = WorkSigns(*[False] * len(WorkSigns._fields))

    async def follow(self) -> None:
        """For ever."""
        while True:
            try:
                self.signs = await self._database.read(work_signs.look)
            except AppError as error:
                logger.warning("no work can be looked for: %s", error.message)
                await asyncio.sleep(ERROR_PAUSE_S)
            self._looked.set()
            self._looked = asyncio.Event()
            await asyncio.sleep(self._poll_interval_s)

    async def next_look(self) -> None:
        """Returns after it."""
        await self._looked.wait()


class WorkLoop(Generic[Work]):
    """At most ``max_running()`` pieces of work at a time.

    Nothing is remembered here: rows with leases are the state. Work that fails is claimed again when its
    lease runs out.
    """

    def __init__(
        self,
        database: Database,
        lookout: Lookout,
        may_wait: Callable[[WorkSigns], bool],
        claim: Callable[[Session], Work | None],
        carry_out: Callable[[Work], Awaitable[object]],
        *,
        max_running: Callable[[], int],
    ) -> None:
        """``claim`` returns None where nothing waits; it is only tried where something may."""
        self._database, self._lookout, self._may_wait = database, lookout, may_wait
        self._claim = claim
        self._carry_out = carry_out
        self._max_running = max_running

    async def run(self) -> None:
        """For ever."""
        running: set[asyncio.Task[None]] = set()
        while True:
            work = await self._next() if len(running) < self._max_running() else None
            if work is not None:
                running.add(asyncio.create_task(self._finish(work)))
            elif running:
                look = asyncio.create_task(self._lookout.next_look())
                done, _ = await asyncio.wait({look, *running}, return_when=asyncio.FIRST_COMPLETED)
                look.cancel()
                running -= done
            else:
                await self._lookout.next_look()

    async def _next(self) -> Work | None:
        if not self._may_wait(self._lookout.signs):
            return None
        try:
            return await self._database.run(self._claim)
        except AppError as error:
            logger.warning("no work can be claimed: %s", error.message)
            await asyncio.sleep(ERROR_PAUSE_S)
            return None

    async def _finish(self, work: Work) -> None:
        try:
            await self._carry_out(work)
        except (RayError, AppError) as error:
            logger.error("background work failed; it is claimed again later", exc_info=error)
