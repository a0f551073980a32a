"""Requests that come while a batch is worked on form the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from serve_app.batches import Batches


class Slow:
    """Answers when it is let go; ``seen`` are the batches."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.go = asyncio.Event()

    async def answer(self, requests: list[int]) -> Sequence[int]:
        self.seen.append(requests)
        await self.go.wait()
        return [10 * one for one in requests]


async def started(batches: Batches[int, int], requests: Sequence[int]) -> list[asyncio.Task[int]]:
    """One after the other, as requests over a network come."""
    tasks = []
    for one in requests:
        tasks.append(asyncio.create_task(batches(one)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return tasks


async def test_an_idle_one_answers_at_once_and_a_busy_one_gathers() -> None:
    slow = Slow()
    batches = Batches(slow.answer, max_size=4)
    tasks = await started(batches, range(8))
    assert slow.seen == [[0]]
    slow.go.set()
    assert await asyncio.gather(*tasks) == [10 * one for one in range(8)]
    assert slow.seen == [[0], [1, 2, 3, 4], [5, 6, 7]]


async def test_an_error_is_that_of_its_batch_alone() -> None:
    async def answer(requests: list[int]) -> Sequence[int]:
        await asyncio.sleep(0.01)
        if 1 in requests:
            raise ValueError("one")
        return requests[:1] if requests == [8] * 2 else requests

    batches = Batches(answer, max_size=2)
    tasks = await started(batches, range(5))
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, ValueError) for one in found] == [False, True, True, False, False]
    assert await batches(7) == 7
    found = await asyncio.gather(*await started(batches, [7, 8, 8]), return_exceptions=True)
    assert [isinstance(one, RuntimeError) for one in found] == [False, True, True]


async def test_whoever_went_away_takes_no_place() -> None:
    slow = Slow()
    batches = Batches(slow.answer, max_size=2)
    tasks = await started(batches, range(4))
    tasks[1].cancel()
    await asyncio.sleep(0)
    slow.go.set()
    assert await asyncio.gather(tasks[0], *tasks[2:]) == [0, 20, 30]
    assert slow.seen == [[0], [2, 3]]


async def test_whoever_goes_away_while_its_batch_runs_takes_no_other_with_it() -> None:
    slow = Slow()
    batches = Batches(slow.answer, max_size=2)
    first, second, third = await started(batches, range(3))
    first.cancel()
    await asyncio.sleep(0)
    slow.go.set()
    assert await asyncio.gather(second, third) == [10, 20]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_wait_gathers_company_for_the_first() -> None:
    slow = Slow()
    slow.go.set()
    batches = Batches(slow.answer, max_size=3)
    batches.wait_s = 0.05
    assert await asyncio.gather(*await started(batches, range(2))) == [0, 10]
    batches.max_size = 1
    assert await asyncio.wait_for(batches(5), timeout=0.04) == 50
    assert slow.seen == [[0, 1], [5]]
