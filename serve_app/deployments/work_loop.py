"""One kind of background work: claim it from PostgreSQL, carry it out, look again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ray.exceptions import RayError
from sqlalchemy.orm import Session

from db.session import Database
from models.errors import AppError

logger = logging.getLogger("serve_app")
ERROR_PAUSE_S = 2.0
Work = TypeVar("Work")


class WorkLoop(Generic[Work]):
    """At most ``max_running()`` pieces of work at a time.

    Nothing is remembered here: rows with leases are the state. Work that fails is claimed again when its
    lease runs out.
    """

    def __init__(
        self,
        database: Database,
        claim: Callable[[Session], Work | None],
        carry_out: Callable[[Work], Awaitable[object]],
        *,
        max_running: Callable[[], int],
        poll_interval_s: float,
    ) -> None:
        """``claim`` returns None where nothing waits."""
        self._database = database
        self._claim = claim
        self._carry_out = carry_out
        self._max_running = max_running
        self._poll_interval_s = poll_interval_s

    async def run(self) -> None:
        """For ever."""
        running: set[asyncio.Task[None]] = set()
        while True:
            work = await self._next() if len(running) < self._max_running() else None
            if work is not None:
                running.add(asyncio.create_task(self._finish(work)))
            elif running:
                _, running = await asyncio.wait(
                    running, timeout=self._poll_interval_s, return_when=asyncio.FIRST_COMPLETED
                )
            else:
                await asyncio.sleep(self._poll_interval_s)

    async def _next(self) -> Work | None:
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
