"""Who asks: API keys authenticated from memory, compared with the database in the background.

A key that was revoked anywhere counts nowhere after ``MAX_AGE_S``, whatever fails (docs/decisions).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from configs.serving import AccountArgs
from db import keys
from db.keys import KeyState
from db.session import Database
from models.errors import AppError, NotAuthenticated
from models.shop import KeyScope, ShopStatus
from serve_app.background import in_background
from serve_app.secrets import KeyMint

logger = logging.getLogger("serve_app")
MAX_AGE_S = 4.0
IDLE_S = 60.0
CAPACITY = 10_000
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. The tenant of everything that the request touches.

    ``max_images`` is the cap of number_of_images, None for secret keys. A limit of None is the
    configuration's. ``score_floors``: the shop's, by model key.
    """

    shop_id: int
    key_id: int
    scope: KeyScope
    allowed_origins: frozenset[str] = frozenset()
    max_images: int | None = None
    key_requests_per_minute: int | None = None
    shop_requests_per_minute: int | None = None
    prompts_per_day: int | None = None
    max_photos: int | None = None
    expires_at: datetime | None = None
    score_floors: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Entry:
    """A key that was good at ``verified_at``, the moment at which the query began (monotonic, seconds)."""

    caller: Caller
    secret_hmac: bytes
    verified_at: float
    used_at: float = 0.0
    noted_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Query:
    started_at: float
    answer: asyncio.Task[KeyState | None]


class CallerCache:
    """Authentication without the database in the steady state. For one event loop; bounded.

    ``running()`` re-reads the keys in use every ``key_check_s``. What was not confirmed for ``MAX_AGE_S`` is
    asked of the database by the request itself, so a round that hangs or fails never prolongs anything.
    """

    def __init__(
        self,
        database: Database,
        mint: KeyMint,
        args: AccountArgs,
        *,
        capacity: int = CAPACITY,
        clock: Clock = time.monotonic,
    ) -> None:
        self._database = database
        self._mint = mint
        self._args = args
        self._capacity = capacity
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._queries: dict[str, _Query] = {}
        self._forgotten_at = float("-inf")
        self._uses: dict[int, datetime] = {}

    async def caller(self, key: str) -> Caller:
        """Raises NotAuthenticated for a malformed, unknown, revoked or expired key, or an inactive shop."""
        public_id = self._mint.public_id(key)
        if public_id is None:
            raise _unknown()
        entry = self._entries.get(public_id)
        if entry is None or self._clock() - entry.verified_at >= MAX_AGE_S:
            entry = await self._asked(public_id, key)
        elif not self._mint.matches(key, entry.secret_hmac):
            raise _unknown()
        if entry.caller.expires_at is not None and entry.caller.expires_at <= datetime.now(UTC):
            raise _expired()
        self._use(public_id, entry)
        return entry.caller

    def forget(self, shop_id: int) -> None:
        """Ask the database again for the shop's keys, because they changed in this process."""
        self._forgotten_at = self._clock()
        for public_id, entry in list(self._entries.items()):
            if entry.caller.shop_id == shop_id:
                del self._entries[public_id]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Checks in the background while the block lasts; then writes down the last uses."""
        try:
            async with in_background(self._rounds()):
                yield
        finally:
            await self._attempt(self._write_uses)

    async def check(self) -> None:
        """One round: re-read the keys in use, drop the idle ones, write down last uses."""
        started_at = self._clock()
        for public_id, entry in list(self._entries.items()):
            if started_at - entry.used_at > IDLE_S:
                del self._entries[public_id]
        asked = dict(self._entries)
        if asked:
            ids = [entry.caller.key_id for entry in asked.values()]
            states = await self._database.read(partial(keys.states, ids=ids))
            found = {state.public_id: state for state in states}
            for public_id, entry in asked.items():
                # A request may have replaced it since, having learned more, or a revocation removed it.
                if self._entries.get(public_id) is entry:
                    self._renew(public_id, entry, found.get(public_id), started_at)
        await self._write_uses()

    def _renew(self, public_id: str, entry: _Entry, state: KeyState | None, verified_at: float) -> None:
        try:
            entry.caller = self._judged(state)
        except NotAuthenticated:
            del self._entries[public_id]
        else:
            entry.verified_at = verified_at

    async def _asked(self, public_id: str, key: str) -> _Entry:
        """The database's word. Requests that come while it is asked share the answer, while that is fresh."""
        query = self._queries.get(public_id)
        if query is None or not self._counts(query.started_at):
            find = partial(keys.find_state, public_id=public_id)
            query = _Query(self._clock(), asyncio.create_task(self._database.read(find)))
            self._queries[public_id] = query
            query.answer.add_done_callback(partial(self._close, public_id))
        state = await asyncio.shield(query.answer)
        if state is None or not self._mint.matches(key, state.secret_hmac):
            raise _unknown()
        entry = _Entry(self._judged(state), state.secret_hmac, query.started_at)
        if self._counts(query.started_at):
            self._keep(public_id, entry)
        return entry

    def _counts(self, started_at: float) -> bool:
        return self._forgotten_at < started_at and self._clock() - started_at < MAX_AGE_S

    def _close(self, public_id: str, answer: asyncio.Task[KeyState | None]) -> None:
        query = self._queries.get(public_id)
        if query is not None and query.answer is answer:
            del self._queries[public_id]
        if not answer.cancelled():
            answer.exception()  # Whoever waited has it; where nobody waits any more, nobody misses it.

    def _keep(self, public_id: str, entry: _Entry) -> None:
        if public_id in self._entries:
            entry.noted_at = self._entries[public_id].noted_at
        self._entries[public_id] = entry
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def _judged(self, state: KeyState | None) -> Caller:
        if state is None:
            raise _unknown()
        if state.revoked_at is not None:
            raise NotAuthenticated("This API key was revoked. Use another key of the shop.")
        if state.expires_at is not None and state.expires_at <= datetime.now(UTC):
            raise _expired()
        if state.shop_status is not ShopStatus.ACTIVE:
            raise NotAuthenticated("The shop of this API key is not active.")
        return Caller(
            shop_id=state.shop_id,
            key_id=state.id,
            scope=state.scope,
            allowed_origins=frozenset(state.allowed_origins),
            max_images=self._max_images(state),
            key_requests_per_minute=state.requests_per_minute,
            shop_requests_per_minute=state.shop_requests_per_minute,
            prompts_per_day=state.prompts_per_day,
            max_photos=state.max_photos,
            expires_at=state.expires_at,
            score_floors={model: float(one) for model, one in (state.score_floors or {}).items()},
        )

    def _max_images(self, state: KeyState) -> int | None:
        if state.scope is KeyScope.SECRET:
            return None
        return self._args.publishable_max_images if state.max_images is None else state.max_images

    def _use(self, public_id: str, entry: _Entry) -> None:
        entry.used_at = self._clock()
        if entry.used_at - entry.noted_at >= keys.USE_PRECISION_S:
            entry.noted_at = entry.used_at
            self._uses[entry.caller.key_id] = datetime.now(UTC)
        if public_id in self._entries:
            self._entries.move_to_end(public_id)

    async def _write_uses(self) -> None:
        uses = dict(self._uses)
        if not uses:
            return
        await self._database.run(partial(keys.note_uses, uses=uses))
        for key_id, used_at in uses.items():
            if self._uses.get(key_id) == used_at:
                del self._uses[key_id]

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(self._args.key_check_s)
            await self._attempt(self.check)

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        """What fails now is tried again in the next round."""
        try:
            await step()
        except AppError as error:
            logger.warning("keys cannot be compared with the database: %s", error.message)
        except SQLAlchemyError as error:
            logger.error("keys cannot be compared with the database", exc_info=error)


def _unknown() -> NotAuthenticated:
    return NotAuthenticated("This API key is not known. Check that it was copied whole.")


def _expired() -> NotAuthenticated:
    return NotAuthenticated("This API key has expired. Use another key of the shop.")
