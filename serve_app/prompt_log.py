"""Answered prompts on their way into the log: gathered, then written in batches beside the requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from db import prompts
from db.session import Database
from models.errors import AppError, TooBusy
from models.prompt import Prompt
from serve_app.background import in_background
from serve_app.ports import EventCounter

logger = logging.getLogger("serve_app")
T = TypeVar("T")
INTERVAL_S = 0.25
RETRY_S = 1.0
BATCH_ROWS = 500
CAPACITY_ROWS = 10_000
CLOSING_S = 3.0  # within a stopping replica's grace
LOG_EVERY_S = 60.0
LOOK_AGAIN_AFTER_S = (0.1, 0.2, 0.4, 0.7)  # other replicas' logs are at most 1 s behind
MAX_WAITING, MAX_WAITING_OF_SHOP = 64, 16


class PromptLog:
    """For one event loop; bounded. A row is in the database at most 1 s after ``add``, while that answers.

    Rows wait in memory, in their order, until they are written. What is lost is counted in ``dropped``: rows
    beyond ``capacity``, rows that the database refuses, and those of a process that is killed (uncounted).
    """

    def __init__(self, database: Database, dropped: EventCounter, *, capacity: int = CAPACITY_ROWS) -> None:
        self._database = database
        self._dropped = dropped
        self._capacity = capacity
        self._rows: deque[Prompt] = deque()
        self._gathered = asyncio.Event()
        self._writing = asyncio.Lock()
        self._waiting: Counter[int] = Counter()  # by shop
        self._log_again_at = float("-inf")

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Prompt) -> None:
        """Takes no time and never fails."""
        if len(self._rows) >= self._capacity:
            self._drop(1, f"{self._capacity} of them wait for the database already")
            return
        self._rows.append(row)
        self._gathered.set()

    async def flush(self) -> None:
        """Write all that was added before. Raises AppError where the database does not answer."""
        waiting = len(self._rows)
        async with self._writing:
            # Another call may have written some of them meanwhile.
            waiting = min(waiting, len(self._rows))
            while waiting > 0:
                batch = list(islice(self._rows, min(waiting, BATCH_ROWS)))
                await self._write(batch)
                waiting -= len(batch)
                for _ in batch:
                    self._rows.popleft()

    async def wait_for(self, shop_id: int, look: Callable[[], Awaitable[T | None]]) -> T | None:
        """What ``look`` finds, be it of a prompt that any replica answered a moment ago; None: nothing.

        Raises TooBusy where too many wait already, of all shops or of this one, and what ``look`` raises.
        """
        found = await look()
        if found is not None:
            return found
        if self._waiting.total() >= MAX_WAITING or self._waiting[shop_id] >= MAX_WAITING_OF_SHOP:
            raise TooBusy("Too many events name prompts that are not logged yet. Try again in a second.")
        self._waiting[shop_id] += 1
        try:
            return await self._look_again(look)
        finally:
            self._waiting[shop_id] -= 1
            self._waiting += Counter()  # forgets those at zero

    async def _look_again(self, look: Callable[[], Awaitable[T | None]]) -> T | None:
        await self.flush()
        found = await look()
        for pause_s in LOOK_AGAIN_AFTER_S:
            if found is not None:
                break
            await asyncio.sleep(pause_s)
            found = await look()
        return found

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes in the background while the block lasts; then writes the rest."""
        try:
            async with in_background(self._rounds()):
                yield
        finally:
            await self._close()

    async def _rounds(self) -> None:
        while True:
            await self._gathered.wait()
            await asyncio.sleep(INTERVAL_S)
            self._gathered.clear()
            try:
                await self.flush()
            except AppError as error:
                self._gathered.set()
                self._note("prompts wait to be logged: %s", error.message)
                await asyncio.sleep(RETRY_S)

    async def _write(self, batch: Sequence[Prompt]) -> None:
        """One statement. A row that cannot be stored is found by halving the batch, and left out."""
        try:
            await self._database.run(partial(prompts.add, rows=batch))
        except (SQLAlchemyError, ValueError, TypeError) as error:
            if len(batch) == 1:
                # The error's own text would hold the prompt.
                self._drop(1, f"{type(error).__name__} at prompt {batch[0].id}")
                return
            half = len(batch) // 2
            await self._write(batch[:half])
            await self._write(batch[half:])

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSING_S):
                await self.flush()
        except (AppError, TimeoutError) as error:
            lost = len(self._rows)
            self._rows.clear()
            self._drop(lost, f"{type(error).__name__} at shutdown")

    def _drop(self, count: int, reason: str) -> None:
        for _ in range(count):
            self._dropped.increment()
        self._note("%d answered prompts are not logged: %s", count, reason)

    def _note(self, message: str, *values: object) -> None:
        """At most one line a minute: whatever is wrong would be said for every prompt."""
        if time.monotonic() >= self._log_again_at:
            self._log_again_at = time.monotonic() + LOG_EVERY_S
            logger.error(message, *values)
