"""What a replica hands to Ray. Ray's own part is tested against a real service (test_metrics.py)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from serve_app.batches import Batches
from serve_app.deployments import metrics
from serve_app.deployments.metrics import PEAK_ROUNDS, Level, Published

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class Recorded:
    """Stands for Ray's Counter and Gauge."""

    name: str
    description: str
    tag_keys: tuple[str, ...]
    values: ClassVar[defaultdict[Series, list[float]]]
    descriptions: ClassVar[dict[str, str]] = {}
    made: list[str] = field(default_factory=list)

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.tag_keys)
        self.descriptions[self.name] = self.description
        self.values[self.name, tuple(sorted(tags.items()))].append(value)

    _record = set


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> defaultdict[Series, list[float]]:
    Recorded.values = defaultdict(list)
    for kind in ("Counter", "Gauge"):
        monkeypatch.setattr(metrics, kind, Recorded)
    return Recorded.values


def test_a_level_is_set_each_time_until_it_is_gone(ray: defaultdict[Series, list[float]]) -> None:
    published, levels = Published(), [Level("photos", {"state": "failed"}, 2)]
    published.describe({"photos": "By state."})
    published.levels(lambda: levels)
    published.hand_over()
    published.hand_over()
    levels.clear()
    published.hand_over()
    assert ray["photos", (("state", "failed"),)] == [2, 2]
    assert Recorded.descriptions["photos"] == "By state."


async def test_batches_show_sizes_and_the_most_that_waited_for_a_while(
    ray: defaultdict[Series, list[float]],
) -> None:
    async def answer(requests: list[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        return requests

    batches = Batches(answer, max_size=4)
    published = Published()
    published.watch("prompts", batches)
    await asyncio.gather(*map(batches, range(6)))
    waited = ray["fashion_waiting_requests", (("part", "prompts"),)]
    for _ in range(PEAK_ROUNDS):
        published.hand_over()
        assert waited[-1] == 6
    published.hand_over()
    assert waited[-1] == 0
    sizes = {
        dict(tags)["le"]: sum(values)
        for (name, tags), values in ray.items()
        if name == "fashion_batch_size_bucket"
    }
    assert (sizes["1"], sizes["2"], sizes["4"], sizes["+Inf"]) == (0, 1, 2, 2)


async def test_batches_that_are_gone_are_no_longer_counted(ray: defaultdict[Series, list[float]]) -> None:
    async def answer(requests: list[int]) -> Sequence[int]:
        return requests

    published = Published()
    batches = Batches(answer, max_size=4)
    published.watch("prompts", batches)
    del batches
    published.hand_over()
    assert ray["fashion_waiting_requests", (("part", "prompts"),)] == [0]
