"""Requests that come while a batch is worked on form the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import AppError, DependencyUnavailable, NotFound, TooBusy
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
        await asyncio.sleep(0.001)
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


async def test_a_batch_runs_in_the_context_of_none_of_its_requests() -> None:
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    seen = []

    async def answer(requests: list[int]) -> Sequence[int]:
        seen.append(whose.get())
        return requests

    batches = Batches(answer, max_size=4)
    whose.set("the first one's")
    await batches(1)
    assert seen == ["nobody's"]


async def test_the_most_that_waited_counts_since_it_was_asked_last() -> None:
    slow = Slow()
    batches = Batches(slow.answer, max_size=2)
    tasks = await started(batches, range(6))
    assert batches.most_waited() == 5
    assert batches.most_waited() == 5
    slow.go.set()
    await asyncio.gather(*tasks)
    assert batches.most_waited() == 5
    assert batches.most_waited() == 0


async def test_a_wait_gathers_company_for_the_first() -> None:
    slow = Slow()
    slow.go.set()
    batches = Batches(slow.answer, max_size=3)
    batches.wait_s = 0.05
    assert await asyncio.gather(*await started(batches, range(2))) == [0, 10]
    batches.max_size = 1
    assert await asyncio.wait_for(batches(5), timeout=0.04) == 50
    assert slow.seen == [[0, 1], [5]]


@dataclass
class Part:
    """Doubles numbers, once it may; refuses ``bad`` ones alone, and calls with one of ``broken``."""

    bad: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    calls: list[list[int]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, questions: list[int]) -> Sequence[int | AppError]:
        self.calls.append(questions)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.under_way -= 1
        if self.broken & set(questions):
            raise DependencyUnavailable("gone")
        return [NotFound("bad") if one in self.bad else 2 * one for one in questions]


def limited(part: Part, max_size: int = 4, at_once: int = 2, most_waiting: int = 100) -> Batches[int, int]:
    return Batches(part, max_size, at_once=at_once, most_waiting=most_waiting, part="The part")


@given(
    questions=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    under_way=st.integers(1, 4),
    per_call=st.integers(1, 8),
    bad=st.frozensets(st.integers(0, 20), max_size=3),
    broken=st.frozensets(st.integers(0, 20), max_size=1),
)
@settings(max_examples=60, deadline=None)
def test_each_gets_its_own_answer_or_error_within_the_limits(
    questions: list[int], under_way: int, per_call: int, bad: frozenset[int], broken: frozenset[int]
) -> None:
    async def ask_all() -> tuple[Part, list[int | BaseException]]:
        part = Part(bad, broken)
        batches = limited(part, per_call, under_way)
        part.gate.set()
        return part, await asyncio.gather(*map(batches, questions), return_exceptions=True)

    part, answers = asyncio.run(ask_all())
    lost = {one for call in part.calls if broken & set(call) for one in call}
    for question, answer in zip(questions, answers, strict=True):
        if isinstance(answer, DependencyUnavailable):
            assert question in lost
        elif isinstance(answer, NotFound):
            assert question in bad
        else:
            assert answer == 2 * question
            assert question not in bad
    assert sorted(one for call in part.calls for one in call) == sorted(questions)
    assert part.most <= under_way
    assert max(map(len, part.calls)) <= per_call


async def test_those_of_one_moment_go_together_and_later_ones_wait_for_the_next_call() -> None:
    part = Part()
    batches = limited(part, at_once=1)
    first = [asyncio.create_task(batches(one)) for one in (1, 2)]
    await asyncio.sleep(0.01)
    later = [asyncio.create_task(batches(one)) for one in (3, 4, 5)]
    await asyncio.sleep(0.01)
    assert part.calls == [[1, 2]]
    part.gate.set()
    assert await asyncio.gather(*first, *later) == [2, 4, 6, 8, 10]
    assert part.calls == [[1, 2], [3, 4, 5]]


async def test_a_full_queue_refuses_at_once() -> None:
    part = Part()
    batches = limited(part, at_once=1, most_waiting=2)
    first = asyncio.create_task(batches(1))
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(batches(one)) for one in (2, 3)]
    await asyncio.sleep(0.01)
    with pytest.raises(TooBusy, match="The part has a full queue"):
        await batches(4)
    part.gate.set()
    assert await asyncio.gather(first, *waiting) == [2, 4, 6]


@given(
    questions=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    per_call=st.integers(1, 8),
    at_once=st.integers(1, 3),
    kinds=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_only_those_of_one_kind_share_a_batch_and_none_is_passed_over(
    questions: list[int], per_call: int, at_once: int, kinds: int
) -> None:
    async def ask_all() -> tuple[Part, list[int]]:
        part = Part()
        batches = Batches[int, int](part, per_call, at_once=at_once, together=lambda one: one % kinds)
        part.gate.set()
        return part, await asyncio.gather(*map(batches, questions))

    part, answers = asyncio.run(asyncio.wait_for(ask_all(), timeout=5))
    assert answers == [2 * one for one in questions]
    assert all(len({one % kinds for one in call}) == 1 for call in part.calls)
    assert max(map(len, part.calls)) <= per_call
    assert sorted(one for call in part.calls for one in call) == sorted(questions)


async def test_the_next_batch_is_of_the_kind_that_waited_longest() -> None:
    part = Part()
    batches = Batches[int, int](part, 2, together=lambda one: one % 2)
    tasks = await started(batches, [1, 2, 3, 4, 5, 6, 7])
    part.gate.set()
    await asyncio.gather(*tasks)
    assert part.calls == [[1], [2, 4], [3, 5], [6], [7]]
