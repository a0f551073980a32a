"""Clients that ask over HTTP: in a closed loop, or at a rate that does not wait for the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

TIMEOUT_S = 60.0
Answered = list[tuple[str, Any]]


@dataclass(frozen=True)
class Target:
    """Where prompts are sent; ``body`` makes the JSON of one."""

    url: str
    headers: Mapping[str, str]
    body: Callable[[str], dict[str, Any]]


class Refused(AssertionError):
    """A request was not answered 200."""


@dataclass(frozen=True)
class Failure:
    """``due_s``: when it was to be sent, by ``perf_counter``."""

    due_s: float
    reason: str


@dataclass
class Load:
    """``times_s``: of each request; ``ended_s``: when each was answered, by ``perf_counter``; ``rate``:
    answers a second, to the last one; ``kept``: some prompts with their answers; ``failures``: requests
    without a time, where they are noted."""

    times_s: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    rate: float = 0.0
    kept: Answered = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


KEEP_EVERY = 25
Ask = Callable[[aiohttp.ClientSession, Target, str, float, Load], Coroutine[Any, Any, None]]


def closed_loop(target: Target, prompts: Iterator[str], clients: int, seconds: float) -> Load:
    """``clients`` that each ask as soon as they have their answer. Every request must succeed."""
    return asyncio.run(_closed(target, prompts, clients, seconds))


def open_loop(target: Target, prompts: Iterator[str], rate: float, seconds: float, seed: int) -> Load:
    """Requests at random moments (Poisson), ``rate`` a second on average.

    Each counts from the moment it was due, however late it could be sent: else a service that stalls would
    be asked less just then ("coordinated omission", Gil Tene).
    """
    random = np.random.default_rng(seed)
    due = np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
    return asyncio.run(_open(target, prompts, due.tolist(), _ask))


def timed_load(target: Target, prompts: Iterator[str], due_s: Sequence[float]) -> Load:
    """Requests so many seconds from now, each counted from that moment, and failures noted."""
    return asyncio.run(_open(target, prompts, due_s, _ask_noting))


async def _closed(target: Target, prompts: Iterator[str], clients: int, seconds: float) -> Load:
    load = Load()
    async with _session(clients) as session:
        started = time.perf_counter()

        async def client() -> None:
            while (began := time.perf_counter()) < started + seconds:
                await _ask(session, target, next(prompts), began, load)

        await asyncio.gather(*(client() for _ in range(clients)))
        load.rate = len(load.times_s) / (time.perf_counter() - started)
    return load


async def _open(target: Target, prompts: Iterator[str], due_s: Sequence[float], ask: Ask) -> Load:
    load = Load()
    running: set[Awaitable[None]] = set()
    async with _session(0) as session, asyncio.TaskGroup() as group:
        started = time.perf_counter()
        for moment in due_s:
            due = started + moment
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            running.add(group.create_task(ask(session, target, next(prompts), due, load)))
    load.rate = len(load.times_s) / (time.perf_counter() - started)
    return load


async def _ask(session: aiohttp.ClientSession, target: Target, prompt: str, began: float, load: Load) -> None:
    async with session.post(target.url, json=target.body(prompt), headers=target.headers) as response:
        answer = await response.read()
    if response.status != 200:
        raise Refused(f"{response.status} to {prompt!r}: {answer[:200]!r}")
    load.ended_s.append(time.perf_counter())
    load.times_s.append(load.ended_s[-1] - began)
    if len(load.times_s) % KEEP_EVERY == 0:
        load.kept.append((prompt, answer))


async def _ask_noting(
    session: aiohttp.ClientSession, target: Target, prompt: str, began: float, load: Load
) -> None:
    try:
        await _ask(session, target, prompt, began, load)
    except (Refused, aiohttp.ClientError, TimeoutError) as error:
        load.failures.append(Failure(began, f"{type(error).__name__}: {error}"))


def _session(connections: int) -> aiohttp.ClientSession:
    """``connections``: at most so many at a time; 0: as many as are needed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections), timeout=aiohttp.ClientTimeout(TIMEOUT_S)
    )
