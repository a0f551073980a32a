"""Counters in Redis: shared, and done without while Redis is away, slow or something else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from configs.serving import LimitArgs
from models.errors import ConfigurationError
from models.shop import KeyScope
from serve_app.callers import Caller
from serve_app.client_address import ClientAddress
from serve_app.local_environment import free_ports
from serve_app.rate_counters import LOG_EVERY_S, NO_ANSWER, PAUSE_S, TIMEOUT_S, RedisCounters, Slot
from serve_app.rate_limits import RateLimiter
from tests.fakes import Tally
from tests.redis_server import PASSWORD, RedisServer

CALLER = Caller(1, 1, KeyScope.SECRET)
SLOTS = [Slot("a", 60), Slot("b", 60)]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def counters(url: str, clock: Clock | None = None) -> AsyncIterator[RedisCounters]:
    opened = RedisCounters(url, clock or Clock())
    try:
        yield opened
    finally:
        await opened.close()


async def test_two_replicas_share_the_count(redis_server: RedisServer) -> None:
    async with counters(redis_server.url) as one, counters(redis_server.url) as two:
        args = LimitArgs(key_requests_per_minute=40, shop_requests_per_minute=None, signups_per_hour=3)
        now = 1_800_014_400.0
        replicas = [RateLimiter(args, Tally(), shared, clock=lambda: now) for shared in (one, two)]
        verdicts = await asyncio.gather(*(replicas[i % 2].take_request(CALLER) for i in range(60)))
        assert sum(verdict.error() is None for verdict in verdicts) == 40
        assert len({one.remaining for v in verdicts if v.error() is None for one in v.standings}) == 40
        now += 60
        assert (await replicas[1].take_request(CALLER)).error() is None
        stranger = ClientAddress("192.0.2.1", shared=False)
        signups = [(await replicas[i % 2].take_signup(stranger)).error() is None for i in range(5)]
        assert signups == [True, True, True, False, False]


async def test_counters_in_redis_expire(redis_server: RedisServer) -> None:
    async with counters(redis_server.url) as shared, Redis.from_url(redis_server.url) as client:
        assert await shared.add([Slot("brief", 30), Slot("long", 3600)], 1) == [1, 1]
        assert await shared.add([Slot("given back after its end", 60)], -1) == [-1]
        ttls = {key.decode(): await client.ttl(key) for key in await client.keys()}
        assert len(ttls) == 3
        assert all(0 < ttl <= 3600 for ttl in ttls.values()), ttls
        assert all(key.startswith("fashion:limits:") for key in ttls)


async def test_limits_resume_when_redis_is_back(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock, tally = Clock(), Tally()
    async with counters(redis_server.url, clock) as shared:
        args = LimitArgs(key_requests_per_minute=1)
        limiter = RateLimiter(args, tally, shared, clock=lambda: 1_800_014_400.0)
        assert (await limiter.take_request(CALLER)).error() is None
        assert (await limiter.take_request(CALLER)).error() is not None
        redis_server.stop()
        with caplog.at_level(logging.WARNING, "serve_app"):
            for _ in range(5):
                assert (await limiter.take_request(CALLER)).error() is None
                clock.now += PAUSE_S
        assert tally.count == 5
        assert [record.message for record in caplog.records] == [
            "rate limits: Redis does not answer (ConnectionError); requests are served unchecked"
        ]
        assert await limiter.state() == NO_ANSWER
        redis_server.start()
        assert (await limiter.take_request(CALLER)).error() is None, "left alone for a while"
        assert tally.count == 6
        clock.now += PAUSE_S
        assert [(await limiter.take_request(CALLER)).error() is None for _ in range(2)] == [True, False]
        assert await limiter.state() == "ok"
        assert caplog.records[-1].message == "rate limits: Redis answers again"
        assert PASSWORD not in caplog.text


async def test_only_one_request_in_a_while_waits_for_a_dead_redis() -> None:
    clock = Clock()
    async with server(_silence) as url, counters(url, clock) as shared:
        started = asyncio.get_running_loop().time()
        assert await asyncio.gather(*(shared.add(SLOTS, 1) for _ in range(20))) == [None] * 20
        assert asyncio.get_running_loop().time() - started < TIMEOUT_S * 8, "all waited at once"
        clock.now += PAUSE_S
        probe = asyncio.create_task(shared.add(SLOTS, 1))
        await asyncio.sleep(0)
        others = await asyncio.gather(*(shared.add(SLOTS, 1) for _ in range(20)))
        assert (others, probe.done()) == ([None] * 20, False)
        assert await probe is None


async def test_a_dead_redis_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    async with counters(f"redis://127.0.0.1:{free_ports(1)[0]}", clock) as shared:
        for _ in range(3):
            assert await shared.add(SLOTS, 1) is None
            clock.now += LOG_EVERY_S
    assert len(caplog.records) == 3


async def test_a_late_answer_is_never_taken_for_another(redis_server: RedisServer) -> None:
    late = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_redis, from_redis = await asyncio.open_connection("127.0.0.1", redis_server.port)
        pumps = [
            asyncio.create_task(_pump(reader, from_redis, None)),
            asyncio.create_task(_pump(to_redis, writer, late)),
        ]
        await asyncio.wait(pumps)
        from_redis.close()

    clock = Clock()
    async with server(relay) as url, counters(url, clock) as shared:
        late.set()
        assert await shared.add([Slot("a", 60)], 5) == [5]
        late.clear()
        assert await shared.add([Slot("a", 60)], 10) is None
        late.set()
        clock.now += PAUSE_S
        assert await shared.add([Slot("b", 60), Slot("a", 60)], 1) == [1, 16]


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event | None
) -> None:
    while data := await reader.read(2**16):
        if gate is not None:
            await gate.wait()
        writer.write(data)
    writer.close()


async def _silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _web_server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def _quoting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"-ERR unknown command, with args beginning with: " + PASSWORD.encode() + b"\r\n" * 2)
    await reader.read()


async def _wrong_type(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(2**16):
        writer.write(b"+OK\r\n" * 4)


@asynccontextmanager
async def server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]],
) -> AsyncIterator[str]:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(once, "127.0.0.1", 0)
    async with listening:
        yield f"redis://:{PASSWORD}@127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize("answer", [_silence, _web_server, _quoting, _wrong_type])
async def test_what_is_no_redis_stops_nothing(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with server(answer) as url, counters(url) as shared:
        assert await shared.add(SLOTS, 1) is None
        assert await shared.state() == NO_ANSWER
    assert PASSWORD not in caplog.text
    assert len(caplog.records) == 1


async def test_a_wrong_password_stops_nothing(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with counters(redis_server.url.replace(PASSWORD, "secret-guess")) as shared:
        assert await shared.add(SLOTS, 1) is None
    assert "secret-guess" not in caplog.text


@pytest.mark.parametrize(
    "url", ["secret-word", "http://:secret-word@host", "redis://:secret-word@host:port/0"]
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        RedisCounters(url)
    assert "secret-word" not in refused.value.message


@pytest.mark.parametrize("url", ["redis://host", "rediss://:a%40b@host:6380/2", "unix:///run/redis.sock"])
def test_every_form_of_address_is_taken(url: str) -> None:
    RedisCounters(url)
