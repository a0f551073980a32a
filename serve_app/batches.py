"""Requests that come while a batch is worked on form the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """One batch at a time, so that whatever waits for it can share the next.

    Serve's own (2.60) closes a batch when its wait is over, though the one before it still runs: without a
    wait each holds one request, however many queue. ``max_size`` and ``wait_s`` may be changed at any time;
    ``wait_s`` is how long the first of a batch waits for others, once no batch runs.
    """

    def __init__(self, answer: Callable[[list[Q]], Awaitable[Sequence[A]]], max_size: int) -> None:
        """``answer``: one answer to each of at least one request, in their order."""
        self._answer = answer
        self.max_size, self.wait_s = max_size, 0.0
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def __call__(self, request: Q) -> A:
        """Its answer. Raises what ``answer`` raises, to all of the batch."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._answer_all())
        return await future

    async def _answer_all(self) -> None:
        while self._waiting:
            if self.wait_s and len(self._waiting) < self.max_size:
                await asyncio.sleep(self.wait_s)
            if batch := self._next():
                await self._answer_one(batch)

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        """Without those that nobody waits for any more."""
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(batch) < self.max_size:
            request, future = self._waiting.popleft()
            if not future.done():
                batch.append((request, future))
        return batch

    async def _answer_one(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        requests = [request for request, _ in batch]
        (answers,) = await asyncio.gather(self._answers(requests), return_exceptions=True)
        for number, (_, future) in enumerate(batch):
            if future.done():
                continue
            if isinstance(answers, BaseException):
                future.set_exception(answers)
            else:
                future.set_result(answers[number])

    async def _answers(self, requests: list[Q]) -> Sequence[A]:
        answers = await self._answer(requests)
        if len(answers) != len(requests):
            raise RuntimeError(f"{len(answers)} answers to {len(requests)} requests")
        return answers
