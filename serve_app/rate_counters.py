"""Where requests are counted: in this process, or in a Redis that all replicas share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from limits.aio.storage import RedisStorage, Storage
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from models.errors import ConfigurationError

logger = logging.getLogger("serve_app")
TIMEOUT_S = 0.25
PAUSE_S = 5.0
LOG_EVERY_S = 60.0
CONNECTIONS = 8  # few, as a burst after a pause must not wait for as many handshakes
SWEEP_EVERY_S = 60.0
KEY_PREFIX = "fashion:limits"
NO_ANSWER = "Redis does not answer properly; requests are served without their limits."


@dataclass(frozen=True, slots=True)
class Slot:
    """One counter of one window; it is forgotten ``ttl_s`` after its first use."""

    key: str
    ttl_s: int


class Counters(Protocol):
    async def add(self, slots: Sequence[Slot], amount: int) -> list[int] | None:
        """The counts afterwards; None where they cannot be told now."""
        ...

    async def state(self) -> str:
        """``ok`` or what is wrong, as a sentence."""
        ...

    async def close(self) -> None: ...


class BoundedMemory(Storage):
    """A memory storage for ``limits`` that never holds more than ``max_counters``.

    The library's own looks at every counter in each call (1.2 ms with 10,000 of them) and knows no bound.
    """

    STORAGE_SCHEME = None

    def __init__(self, max_counters: int, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._max_counters = max_counters
        self._clock = clock
        self._counters: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._sweep_at = clock() + SWEEP_EVERY_S

    def __len__(self) -> int:
        return len(self._counters)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep(now)
        count, until = self._counters.get(key, (0, 0.0))
        if until <= now:
            count, until = 0, now + expiry
            self._counters.pop(key, None)
            if len(self._counters) >= self._max_counters:
                self._counters.popitem(last=False)
        self._counters[key] = (count + amount, until)
        return count + amount

    async def get(self, key: str) -> int:
        count, until = self._counters.get(key, (0, 0.0))
        return count if until > self._clock() else 0

    async def get_expiry(self, key: str) -> float:
        return self._counters.get(key, (0, self._clock()))[1]

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        forgotten = len(self._counters)
        self._counters.clear()
        return forgotten

    async def clear(self, key: str) -> None:
        self._counters.pop(key, None)

    def _sweep(self, now: float) -> None:
        living = ((key, counter) for key, counter in self._counters.items() if counter[1] > now)
        self._counters = OrderedDict(living)
        self._sweep_at = now + SWEEP_EVERY_S


class MemoryCounters:
    """This process's own. Nothing is awaited for real, so no other request comes in between."""

    def __init__(self, max_counters: int, clock: Callable[[], float] = time.time) -> None:
        self._storage = BoundedMemory(max_counters, clock)

    async def add(self, slots: Sequence[Slot], amount: int) -> list[int]:
        return [await self._storage.incr(slot.key, slot.ttl_s, amount) for slot in slots]

    async def state(self) -> str:
        return "ok"

    async def close(self) -> None:
        return None


class RedisCounters:
    """Asks Redis, all slots at once; after a failure it leaves Redis alone for ``PAUSE_S``, then probes.

    Nothing of an exception's text is logged: a server may quote the password that it was sent.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``redis://``, ``rediss://`` or ``unix://``. Raises ConfigurationError, without the address."""
        try:
            self._pool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=TIMEOUT_S,
                socket_timeout=None,  # ``_ask`` has one time-out for all, which costs less
                retry=Retry(NoBackoff(), 0),  # a repeated increment would count twice
            )
        except (ValueError, TypeError):
            raise ConfigurationError(
                "REDIS_URL is not the address of a Redis. Write redis://:PASSWORD@HOST:6379/0."
            ) from None
        self._storage = RedisStorage(
            "async+redis://",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=KEY_PREFIX,
            connection_pool=self._pool,  # type: ignore[arg-type]  # documented, but not typed
        )
        self._clock = clock
        self._failing = False
        self._ask_again_at = float("-inf")
        self._log_again_at = float("-inf")

    async def add(self, slots: Sequence[Slot], amount: int) -> list[int] | None:
        now = self._clock()
        if now < self._ask_again_at:
            return None
        if self._failing:  # this call is the probe; the others do not wait for it
            self._ask_again_at = now + PAUSE_S
        return await self._ask(slots, amount)

    async def state(self) -> str:
        """Asks Redis, even while requests leave it alone."""
        return "ok" if await self._ask([Slot("ready", 60)], 1) is not None else NO_ANSWER

    async def close(self) -> None:
        await self._pool.disconnect()

    async def _ask(self, slots: Sequence[Slot], amount: int) -> list[int] | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                calls = (self._storage.incr(slot.key, slot.ttl_s, amount) for slot in slots)
                counts = [int(count) for count in await asyncio.gather(*calls)]
        except (StorageError, OSError, RuntimeError, TypeError, ValueError) as error:
            self._failed(error)
            return None
        self._succeeded()
        return counts

    def _failed(self, error: Exception) -> None:
        now = self._clock()
        self._failing = True
        self._ask_again_at = now + PAUSE_S
        if now >= self._log_again_at:
            self._log_again_at = now + LOG_EVERY_S
            cause = error.__cause__ if isinstance(error, StorageError) else error
            name = type(cause).__name__
            logger.error("rate limits: Redis does not answer (%s); requests are served unchecked", name)

    def _succeeded(self) -> None:
        self._ask_again_at = float("-inf")
        if self._failing:
            self._failing = False
            logger.warning("rate limits: Redis answers again")
