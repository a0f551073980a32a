"""Authentication from memory: what it spares, and that it never outlives what the database says."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlmodel import col

from configs.serving import AccountArgs
from db import keys
from db.session import Database
from models.errors import DependencyUnavailable, NotAuthenticated
from models.shop import ApiKey, KeyScope, Shop, ShopStatus
from serve_app.callers import IDLE_S, MAX_AGE_S, CallerCache
from serve_app.secrets import KeyMint
from tests.statements import statements

MINT = KeyMint("0123456789abcdef" * 4)


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Key:
    """A stored key, and the database behind the cache's back."""

    database: Database
    shop_id: int
    id: int
    text: str

    def set(self, **values: Any) -> None:
        with self.database.transaction() as session:
            session.execute(update(ApiKey).where(col(ApiKey.id) == self.id).values(**values))

    def set_shop(self, **values: Any) -> None:
        with self.database.transaction() as session:
            session.execute(update(Shop).where(col(Shop.id) == self.shop_id).values(**values))

    def delete(self) -> None:
        with self.database.transaction() as session:
            session.execute(delete(ApiKey).where(col(ApiKey.id) == self.id))

    def last_used_at(self) -> datetime | None:
        with self.database.transaction() as session:
            row = session.get(ApiKey, self.id)
            assert row is not None
            return row.last_used_at


def new_key(database: Database, shop_id: int | None = None, **settings: Any) -> Key:
    scope = settings.pop("scope", KeyScope.SECRET)
    made = MINT.new(scope)
    with database.transaction() as session:
        if shop_id is None:
            shop_id = keys.create_shop(session, "Test shop", f"{uuid.uuid4().hex}@example.com").id
        assert shop_id is not None
        row = keys.add_key(session, shop_id, made.public_id, made.secret_hmac, scope, **settings)
        assert row.id is not None
        return Key(database, shop_id, row.id, made.text)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(database: Database, clock: Clock) -> CallerCache:
    return CallerCache(database, MINT, AccountArgs(key_check_s=0.02), clock=clock)


@pytest.fixture
def key(database: Database) -> Key:
    return new_key(database)


def reads(sent: list[str]) -> int:
    return sum(statement.startswith("SELECT") and "api_key" in statement for statement in sent)


async def until_refused(cache: CallerCache, key: Key) -> None:
    """Raises what refuses it, within 5 s."""
    for _ in range(500):
        await cache.caller(key.text)
        await asyncio.sleep(0.01)


CHANGES: dict[str, Callable[[Key], None]] = {
    "revoked": lambda key: key.set(revoked_at=datetime.now(UTC)),
    "revoked by a clock that is ahead": lambda key: key.set(
        revoked_at=datetime.now(UTC) + timedelta(hours=1)
    ),
    "expired": lambda key: key.set(expires_at=datetime.now(UTC)),
    "deleted": lambda key: key.delete(),
    "suspended": lambda key: key.set_shop(status=ShopStatus.SUSPENDED),
    "deleting": lambda key: key.set_shop(status=ShopStatus.DELETING),
    "pending": lambda key: key.set_shop(status=ShopStatus.PENDING),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_the_next_round_sees_what_changed_elsewhere(
    cache: CallerCache, key: Key, clock: Clock, change: str
) -> None:
    await cache.caller(key.text)
    CHANGES[change](key)
    await cache.caller(key.text)
    clock.now += 1
    await cache.check()
    with pytest.raises(NotAuthenticated):
        await cache.caller(key.text)


@pytest.mark.parametrize("change", CHANGES)
async def test_without_rounds_nothing_counts_longer_than_its_age(
    cache: CallerCache, key: Key, clock: Clock, change: str
) -> None:
    await cache.caller(key.text)
    CHANGES[change](key)
    clock.now += MAX_AGE_S - 0.001
    await cache.caller(key.text)
    clock.now += 0.001
    with pytest.raises(NotAuthenticated):
        await cache.caller(key.text)


async def test_a_database_that_hangs_prolongs_nothing(
    cache: CallerCache, key: Key, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that begins before a revocation and ends long after it confirms only its beginning."""
    await cache.caller(key.text)
    arrived, go_on = asyncio.Event(), asyncio.Event()
    read = Database.read

    async def slow(self: Database, query: Any) -> Any:
        answer = await read(self, query)
        arrived.set()
        await go_on.wait()
        return answer

    clock.now += 1
    monkeypatch.setattr(Database, "read", slow)
    check = asyncio.create_task(cache.check())
    await arrived.wait()
    key.set(revoked_at=datetime.now(UTC))
    clock.now += MAX_AGE_S
    go_on.set()
    await check
    with pytest.raises(NotAuthenticated):
        await cache.caller(key.text)


@pytest.mark.parametrize("reason", ["it began too long ago", "the key was revoked here since"])
async def test_a_query_under_way_is_neither_shared_nor_kept_where(
    cache: CallerCache, key: Key, clock: Clock, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()
    read, calls = Database.read, 0

    async def first_is_slow(self: Database, query: Any) -> Any:
        nonlocal calls
        calls += 1
        first = calls == 1
        answer = await read(self, query)
        if first:
            arrived.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(Database, "read", first_is_slow)
    early = asyncio.create_task(cache.caller(key.text))
    await arrived.wait()
    key.set(revoked_at=datetime.now(UTC))
    if reason == "it began too long ago":
        clock.now += MAX_AGE_S
    else:
        clock.now += 0.1
        cache.forget(key.shop_id)
        clock.now += 0.1
    with pytest.raises(NotAuthenticated):
        async with asyncio.timeout(5):
            await cache.caller(key.text)
    go_on.set()
    await early
    with pytest.raises(NotAuthenticated):
        await cache.caller(key.text)


async def test_what_this_process_changed_counts_at_once(
    cache: CallerCache, key: Key, database: Database, clock: Clock
) -> None:
    other = new_key(database)
    await cache.caller(key.text)
    await cache.caller(other.text)
    clock.now += 1
    key.set(revoked_at=datetime.now(UTC))
    cache.forget(key.shop_id)
    with pytest.raises(NotAuthenticated):
        await cache.caller(key.text)
    with statements(database) as sent:
        await cache.caller(other.text)
    assert reads(sent) == 0


@pytest.mark.parametrize("seen", [True, False], ids=["seen by the round", "not seen by it"])
async def test_a_round_under_way_does_not_bring_back_what_was_forgotten(
    cache: CallerCache, key: Key, clock: Clock, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    await cache.caller(key.text)
    read = Database.read

    async def revoked_meanwhile(self: Database, query: Any) -> Any:
        if seen:
            key.set(revoked_at=datetime.now(UTC))
        answer = await read(self, query)
        key.set(revoked_at=datetime.now(UTC))
        cache.forget(key.shop_id)
        return answer

    clock.now += 1
    with monkeypatch.context() as patch:
        patch.setattr(Database, "read", revoked_meanwhile)
        await cache.check()
    with pytest.raises(NotAuthenticated):
        await cache.caller(key.text)


async def test_settings_follow(cache: CallerCache, database: Database, clock: Clock) -> None:
    key = new_key(database, scope=KeyScope.PUBLISHABLE, allowed_origins=["https://a.example"])
    caller = await cache.caller(key.text)
    assert (caller.allowed_origins, caller.max_images) == ({"https://a.example"}, 20)
    assert (caller.shop_id, caller.key_id, caller.scope) == (key.shop_id, key.id, KeyScope.PUBLISHABLE)
    key.set(allowed_origins=["https://b.example"], max_images=3, requests_per_minute=7)
    key.set_shop(requests_per_minute=8, prompts_per_day=9, max_photos=10)
    clock.now += 1
    await cache.check()
    caller = await cache.caller(key.text)
    assert (caller.allowed_origins, caller.max_images) == ({"https://b.example"}, 3)
    assert (caller.key_requests_per_minute, caller.shop_requests_per_minute) == (7, 8)
    assert (caller.prompts_per_day, caller.max_photos) == (9, 10)


async def test_a_known_key_costs_no_query_and_rounds_keep_it_known(
    cache: CallerCache, key: Key, clock: Clock, database: Database
) -> None:
    await cache.caller(key.text)
    for _ in range(5):
        clock.now += 2
        with statements(database) as sent:
            await cache.check()
        assert reads(sent) == 1
        with statements(database) as sent:
            for _ in range(20):
                await cache.caller(key.text)
        assert sent == []


async def test_one_query_re_reads_all_keys(cache: CallerCache, database: Database, clock: Clock) -> None:
    shop_id = new_key(database).shop_id
    many = [new_key(database, shop_id) for _ in range(20)]
    for key in many:
        await cache.caller(key.text)
    clock.now += 1
    with statements(database) as sent:
        await cache.check()
    assert reads(sent) == 1


async def test_concurrent_requests_share_one_query(cache: CallerCache, key: Key, database: Database) -> None:
    with statements(database) as sent:
        callers = await asyncio.gather(*(cache.caller(key.text) for _ in range(30)))
    assert {caller.key_id for caller in callers} == {key.id}
    assert reads(sent) == 1


async def test_a_client_that_leaves_takes_no_answer_from_others(cache: CallerCache, key: Key) -> None:
    first = asyncio.create_task(cache.caller(key.text))
    second = asyncio.create_task(cache.caller(key.text))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).key_id == key.id


async def test_another_secret_under_a_known_public_id_is_refused(
    cache: CallerCache, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache finds keys by their public id; a forger may know that."""
    await cache.caller(key.text)
    forged = MINT.new().text
    monkeypatch.setattr(KeyMint, "public_id", lambda *_: key.text.split("_")[1])
    with pytest.raises(NotAuthenticated, match="not known"):
        await cache.caller(forged)
    cache.forget(key.shop_id)
    with pytest.raises(NotAuthenticated, match="not known"):
        await cache.caller(forged)
    assert (await cache.caller(key.text)).key_id == key.id


async def test_an_expiry_is_compared_at_each_use(cache: CallerCache, database: Database) -> None:
    """The cache's clock stands still, so no query tells it."""
    key = new_key(database, expires_at=datetime.now(UTC) + timedelta(seconds=0.3))
    with statements(database) as sent:
        assert (await cache.caller(key.text)).expires_at is not None
        with pytest.raises(NotAuthenticated, match="expired"):
            await until_refused(cache, key)
    assert reads(sent) == 1


async def test_it_is_bounded_and_keeps_the_keys_in_use(database: Database, clock: Clock) -> None:
    cache = CallerCache(database, MINT, AccountArgs(), capacity=2, clock=clock)
    shop_id = new_key(database).shop_id
    first, second, third = (new_key(database, shop_id) for _ in range(3))
    for key in (first, second, first, third):
        await cache.caller(key.text)
    with statements(database) as sent:
        await cache.caller(first.text)
        await cache.caller(third.text)
    assert reads(sent) == 0
    with statements(database) as sent:
        await cache.caller(second.text)
    assert reads(sent) == 1


async def test_idle_keys_are_dropped(cache: CallerCache, key: Key, clock: Clock, database: Database) -> None:
    await cache.caller(key.text)
    clock.now += IDLE_S + 1
    await cache.check()
    with statements(database) as sent:
        await cache.check()
    assert sent == []


async def test_the_last_use_is_written_at_most_once_a_minute(
    cache: CallerCache, key: Key, clock: Clock, database: Database
) -> None:
    await cache.caller(key.text)
    assert key.last_used_at() is None
    await cache.check()
    first = key.last_used_at()
    assert first is not None
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
    for _ in range(3):
        clock.now += 15
        await cache.caller(key.text)
        with statements(database) as sent:
            await cache.check()
        assert not any(statement.startswith("UPDATE") for statement in sent)
    long_ago = first - timedelta(minutes=2)
    key.set(last_used_at=long_ago)
    clock.now += 15
    await cache.caller(key.text)
    await cache.check()
    second = key.last_used_at()
    assert second is not None
    assert second > long_ago


async def test_processes_that_use_one_key_write_once_a_minute(database: Database, key: Key) -> None:
    for process in range(2):
        cache = CallerCache(database, MINT, AccountArgs(), clock=Clock())
        await cache.caller(key.text)
        await cache.check()
        if process == 0:
            first = key.last_used_at()
    assert key.last_used_at() == first is not None


async def test_last_uses_survive_an_outage_and_a_stop(
    cache: CallerCache, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object) -> None:
        raise DependencyUnavailable("The database does not answer.")

    async with cache.running():
        with monkeypatch.context() as patch:
            patch.setattr(Database, "run", down)
            await cache.caller(key.text)
            with pytest.raises(DependencyUnavailable):
                await cache.check()
    assert key.last_used_at() is not None


async def test_rounds_go_on_after_an_outage_and_end_with_the_service(
    database: Database, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = CallerCache(database, MINT, AccountArgs(key_check_s=0.02))
    failed = asyncio.Event()

    async def down(*_: object) -> None:
        failed.set()
        raise DependencyUnavailable("The database does not answer.")

    async with asyncio.timeout(10):
        async with cache.running():
            await cache.caller(key.text)
            with monkeypatch.context() as patch:
                patch.setattr(Database, "read", down)
                await failed.wait()
            key.set(revoked_at=datetime.now(UTC))
            with pytest.raises(NotAuthenticated):
                await until_refused(cache, key)
        with statements(database) as sent:
            await asyncio.sleep(0.1)
    assert reads(sent) == 0
