"""Numbers for the operator's dashboards, added up in plain Python.

Adding costs well below a microsecond. Whoever publishes takes what was added since the last time. None of
these is for several threads: a replica adds and takes on its event loop.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")
SECONDS = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
FAILURES = ("500", "503")


class Increment(NamedTuple):
    """What a counter grew by; ``suffix``: of the metric's name."""

    suffix: str
    labels: dict[str, str]
    amount: float


class Additions(Protocol):
    def taken(self) -> list[Increment]:
        """Since the last time. An amount of 0 begins a series, so that its first event is an increase."""
        ...


class Count:
    """An EventCounter."""

    def __init__(self) -> None:
        self._count, self._taken = 0, -1

    def increment(self) -> None:
        self._count += 1

    def taken(self) -> list[Increment]:
        count, before, self._taken = self._count, self._taken, self._count
        return [] if count == before else [Increment("", {}, count - max(before, 0))]


class Spread:
    """How often a value was at most each of some bounds, as Prometheus' histograms count."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """``bounds``: rising."""
        self._bounds = tuple(bounds)
        self._names = [f"{bound:g}" for bound in bounds] + ["+Inf"]
        self._counts = [0] * len(self._names)
        self._sum = 0.0
        self._begun = False

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def taken(self) -> list[Increment]:
        counts, total, begun = self._counts, self._sum, self._begun
        if begun and not any(counts):
            return []
        self._counts, self._sum, self._begun = [0] * len(counts), 0.0, True
        found, up_to = [], 0
        for name, count in zip(self._names, counts, strict=True):
            up_to += count
            if up_to or not begun:
                found.append(Increment("_bucket", {"le": name}, up_to))
        return [*found, Increment("_sum", {}, total), Increment("_count", {}, up_to)]


class RequestCounts:
    """Requests by method, template of their route, and status."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._begun: set[tuple[str, str]] = set()

    def add(self, method: str, route: str, status: int) -> None:
        self._counts[method, route, str(status)] += 1

    def taken(self) -> list[Increment]:
        """A route's failures begin with its first request."""
        counts, self._counts = self._counts, defaultdict(int)
        for place in {(method, route) for method, route, _ in counts} - self._begun:
            self._begun.add(place)
            for status in FAILURES:
                counts[*place, status] += 0
        return [
            Increment("", {"method": method, "route": route, "status": status}, count)
            for (method, route, status), count in counts.items()
        ]


@dataclass(frozen=True)
class Stages:
    """Seconds that an answer's parts take, and all of it. ``search`` and ``rows``: one of several calls."""

    embed: Spread = field(default_factory=lambda: Spread(SECONDS))
    search: Spread = field(default_factory=lambda: Spread(SECONDS))
    rows: Spread = field(default_factory=lambda: Spread(SECONDS))
    all: Spread = field(default_factory=lambda: Spread(SECONDS))


async def timed(seconds: Spread, work: Awaitable[T]) -> T:
    """The result of ``work``; how long it took counts even where it fails."""
    started = time.perf_counter()
    try:
        return await work
    finally:
        seconds.add(time.perf_counter() - started)
