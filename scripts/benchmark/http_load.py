"""Clients that ask over HTTP: in a closed loop, or at a rate that does not wait for the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
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


@dataclass
class Load:
    """``times_s``: of each request; ``ended_s``: when each was answered, by ``perf_counter``; ``rate``:
    answers a second, to the last one; ``kept``: some prompts with their answers."""

    times_s: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    rate: float = 0.0
    kept: Answered = field(default_factory=list)


KEEP_EVERY = 25


def closed_loop(target: Target, prompts: Iterator[str], clients: int, seconds: float) -> Load:
    """``clients`` that each ask as soon as they have their answer. Every request must succeed."""
    return asyncio.run(_closed(target, prompts, clients, seconds))


def open_loop(target: Target, prompts: Iterator[str], rate: float, seconds: float, seed: int) -> Load:
    """Requests at random moments (Poisson), ``rate`` a second on average.

    Each counts from the moment it was due, however late it could be sent: else a service that stalls would
    be asked less just then ("coordinated omission", Gil Tene).
    """
    return asyncio.run(_open(target, prompts, rate, seconds, seed))


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


async def _open(target: Target, prompts: Iterator[str], rate: float, seconds: float, seed: int) -> Load:
    random, load = np.random.default_rng(seed), Load()
    due = np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
    running: set[Awaitable[None]] = set()
    async with _session(0) as session, asyncio.TaskGroup() as group:
        started = time.perf_counter()
        for moment in started + due:
            await asyncio.sleep(max(0.0, moment - time.perf_counter()))
            running.add(group.create_task(_ask(session, target, next(prompts), float(moment), load)))
    load.rate = len(load.times_s) / (time.perf_counter() - started)
    return load


async def _ask(session: aiohttp.ClientSession, target: Target, prompt: str, began: float, load: Load) -> None:
    async with session.post(target.url, json=target.body(prompt), headers=target.headers) as response:
        answer = await response.read()
    load.ended_s.append(time.perf_counter())
    load.times_s.append(load.ended_s[-1] - began)
    if response.status != 200:
        raise AssertionError(f"{response.status} to {prompt!r}: {answer[:200]!r}")
    if len(load.times_s) % KEEP_EVERY == 0:
        load.kept.append((prompt, answer))


def _session(connections: int) -> aiohttp.ClientSession:
    """``connections``: at most so many at a time; 0: as many as are needed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections), timeout=aiohttp.ClientTimeout(TIMEOUT_S)
    )
