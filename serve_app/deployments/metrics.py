"""Hands a replica's numbers to Ray, whose agent on each node shows them to Prometheus beside Ray's own.

Prometheus sees ``ray_NAME`` and, of what only grows, ``ray_NAME_total``. A call of Ray for each event would
cost each request, and each value of Ray's own histograms costs its agent as much again: it takes them one by
one, at the middle of their bucket. So numbers are added up in ``serve_app/measures.py``, and histograms are
counters with the label ``le`` (docs/decisions/0045).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from weakref import ref

from ray.util.metrics import Counter, Gauge

from serve_app.batches import Batches
from serve_app.measures import Additions, Count, Increment

EVERY_S = 2.0
# Ray's agent learns a gauge's value every ten seconds: so long the most that waited is shown.
PEAK_ROUNDS = 5
BATCHED, WAITED = "fashion_batch_size", "fashion_waiting_requests"


class Level(NamedTuple):
    """The value of a gauge."""

    name: str
    labels: dict[str, str]
    value: float


class Published:
    """What one replica publishes, on its event loop."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._descriptions: dict[str, str] = {}
        self._additions: list[tuple[str, dict[str, str], Additions]] = []
        self._levels: list[Callable[[], Iterable[Level]]] = []
        self._batches: list[tuple[str, ref[Batches[Any, Any]]]] = []
        self._waited: dict[str, deque[int]] = {}
        self._also: list[Callable[[], None]] = []
        self.describe({BATCHED: "Requests of a batch.", WAITED: "Most requests that waited for a batch."})
        self.levels(self._waiting)

    def describe(self, names: Mapping[str, str]) -> None:
        """The help texts of metrics, by name."""
        self._descriptions.update(names)

    def add_up(self, name: str, additions: Additions, **labels: str) -> None:
        """All of one name have the same labels."""
        self._additions.append((name, labels, additions))

    def count(self, name: str, description: str) -> Count:
        """A new EventCounter."""
        self.describe({name: description})
        counted = Count()
        self.add_up(name, counted)
        return counted

    def levels(self, read: Callable[[], Iterable[Level]]) -> None:
        """``read`` is asked each time, and all of it set again: Ray forgets a gauge that is not set for 20 s,
        and so ends a series that is left out."""
        self._levels.append(read)

    def watch(self, part: str, batches: Batches[Any, Any]) -> None:
        """Sizes and queue of batches, until they are dropped. Those of one part count together."""
        self._batches.append((part, ref(batches)))
        self._waited.setdefault(part, deque([0], PEAK_ROUNDS))

    def each_time(self, act: Callable[[], None]) -> None:
        """Also call this every ``EVERY_S``."""
        self._also.append(act)

    async def run(self) -> None:
        """For ever."""
        while True:
            self.hand_over()
            await asyncio.sleep(EVERY_S)

    def hand_over(self) -> None:
        for name, labels, additions in self._additions:
            self._count(name, labels, additions.taken())
        self._look_at_batches()
        for read in self._levels:
            for level in read():
                self._show(*level)
        for act in self._also:
            act()

    def _look_at_batches(self) -> None:
        now = dict.fromkeys(self._waited, 0)
        living = [(part, one, batches) for part, one in self._batches if (batches := one()) is not None]
        for part, _, batches in living:
            self._count(BATCHED, {"part": part}, batches.sizes.taken())
            now[part] += batches.most_waited()
        self._batches = [(part, one) for part, one, _ in living]
        for part, most in now.items():
            self._waited[part].append(most)

    def _waiting(self) -> Iterable[Level]:
        return [Level(WAITED, {"part": part}, max(most)) for part, most in self._waited.items()]

    def _count(self, name: str, labels: dict[str, str], increments: Iterable[Increment]) -> None:
        for increment in increments:
            full, tags = name + increment.suffix, labels | increment.labels
            if full not in self._counters:
                self._counters[full] = Counter(full, self._descriptions.get(name, ""), tuple(tags))
            # inc() refuses 0, which begins a series.
            self._counters[full]._record(float(increment.amount), tags)

    def _show(self, name: str, labels: dict[str, str], value: float) -> None:
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, self._descriptions.get(name, ""), tuple(labels))
        self._gauges[name].set(float(value), labels)
