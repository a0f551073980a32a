"""Requests that come while others are worked on go on together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from models.errors import AppError, TooBusy
from serve_app.measures import SIZES, Spread

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """At most ``at_once`` batches at a time, so that whatever waits meanwhile can share the next.

    While fewer are worked on, a request is answered at once, with those of the same round of the event loop
    (the answers of a batch wake many in one round): an idle part adds no wait.

    Serve's own (2.60) closes a batch when its wait is over, though the one before it still runs: without a
    wait each holds one request, however many queue. ``max_size`` and ``wait_s`` may be changed at any time;
    ``wait_s`` is how long the first of a batch waits for others. ``sizes``: of the batches so far.

    A batch belongs to none of its requests: it has a context of its own. In the first one's, Serve would
    cancel the calls of all where that client gives up.
    """

    def __init__(
        self,
        answer: Callable[[list[Q]], Awaitable[Sequence[A | AppError]]],
        max_size: int,
        *,
        at_once: int = 1,
        most_waiting: int | None = None,
        part: str = "This part",
        together: Callable[[Q], Hashable] | None = None,
    ) -> None:
        """``answer``: one answer to each of at least one request, in their order; an AppError is raised to
        that request alone. ``most_waiting``: requests; beyond them ``part`` is too busy. Requests share a
        batch only where ``together`` is the same for them."""
        self._answer, self._at_once, self._together = answer, at_once, together
        self._most_waiting, self._part = most_waiting, part
        self.max_size, self.wait_s = max_size, 0.0
        self.sizes, self._most_waited = Spread(SIZES), 0
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Q) -> A:
        """Its answer. Raises TooBusy, and what ``answer`` raises, to all of the batch."""
        if self._most_waiting is not None and len(self._waiting) >= self._most_waiting:
            raise TooBusy(f"{self._part} has a full queue. Try again in a moment.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        self._waiting.append((request, future))
        self._most_waited = max(self._most_waited, len(self._waiting))
        loop.call_soon(self._start)
        return await future

    def most_waited(self) -> int:
        """Requests that waited at the same time, at most, since this was asked last."""
        most, self._most_waited = self._most_waited, len(self._waiting)
        return most

    def _start(self) -> None:
        if self._waiting and len(self._under_way) < self._at_once:
            task = asyncio.create_task(self._answer_all(), context=Context())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _answer_all(self) -> None:
        while self._waiting:
            if self.wait_s and len(self._waiting) < self.max_size:
                await asyncio.sleep(self.wait_s)
            if batch := self._next():
                await self._answer_one(batch)

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        """Without those that nobody waits for any more."""
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        passed: list[tuple[Q, asyncio.Future[A]]] = []
        while self._waiting and len(batch) < self.max_size:
            request, future = self._waiting.popleft()
            if future.done():
                continue
            fits = (
                not batch or self._together is None or self._together(request) == self._together(batch[0][0])
            )
            (batch if fits else passed).append((request, future))
        self._waiting.extendleft(reversed(passed))
        return batch

    async def _answer_one(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        requests = [request for request, _ in batch]
        self.sizes.add(len(requests))
        (answers,) = await asyncio.gather(self._answers(requests), return_exceptions=True)
        for number, (_, future) in enumerate(batch):
            if future.done():
                continue
            answer = answers if isinstance(answers, BaseException) else answers[number]
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _answers(self, requests: list[Q]) -> Sequence[A | AppError]:
        answers = await self._answer(requests)
        if len(answers) != len(requests):
            raise RuntimeError(f"{len(answers)} answers to {len(requests)} requests")
        return answers
