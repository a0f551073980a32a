"""Looks now and then how much work waits or failed."""

from __future__ import annotations

import asyncio
import logging
import time

from db import work_levels
from db.session import Database
from db.work_levels import WorkLevels
from models.errors import AppError

logger = logging.getLogger("serve_app")
EVERY_S = 10.0
REST = 50.0  # times as long as looking took: counting a million waiting photos takes half a second


class WatchedWork:
    """``levels``: as of the last look; empty before the first one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.levels = WorkLevels()

    async def follow(self) -> None:
        """For ever."""
        while True:
            started = time.monotonic()
            try:
                self.levels = await self._database.run(work_levels.read)
            except AppError as error:
                logger.warning("what waits is not known: %s", error.message)
            await asyncio.sleep(max(EVERY_S, REST * (time.monotonic() - started)))
