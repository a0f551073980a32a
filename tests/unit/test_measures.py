"""What is added up is what is handed over: once, and as Prometheus counts it."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.measures import Additions, Count, RequestCounts, Spread, timed

BOUNDS = (0.5, 1.0, 2.0)
VALUES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0]), st.floats(0, 3))


def totals(additions: Additions, rounds: int = 1) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for _ in range(rounds):
        for suffix, labels, amount in additions.taken():
            found[suffix, labels.get("le", "")] += amount  # type: ignore[assignment]
    return found


@given(rounds=st.lists(st.lists(VALUES, max_size=6), min_size=1, max_size=4))
def test_a_spread_counts_what_is_at_most_each_bound(rounds: list[list[float]]) -> None:
    spread, found = Spread(BOUNDS), Counter[tuple[str, str]]()
    for values in rounds:
        for value in values:
            spread.add(value)
        found += totals(spread)
    values = [value for one in rounds for value in one]
    for bound in (*BOUNDS, math.inf):
        name = "+Inf" if bound == math.inf else f"{bound:g}"
        assert found["_bucket", name] == sum(value <= bound for value in values)
    assert found["_count", ""] == len(values)
    assert found["_sum", ""] == pytest.approx(sum(values))
    assert spread.taken() == []


def test_every_series_begins_at_zero() -> None:
    spread = Spread(BOUNDS)
    spread.add(1.5)
    assert [labels["le"] for suffix, labels, _ in spread.taken() if suffix == "_bucket"] == [
        *("0.5", "1", "2", "+Inf")
    ]
    assert [one.amount for one in Count().taken()] == [0]


def test_a_count_is_taken_once() -> None:
    count = Count()
    count.taken()
    for _ in range(3):
        count.increment()
    assert [one.amount for one in count.taken()] == [3]
    assert count.taken() == []


def test_a_route_shows_its_failures_from_its_first_request_on() -> None:
    requests = RequestCounts()
    requests.add("GET", "/api/jobs/", 200)
    requests.add("GET", "/api/jobs/", 200)
    first = {one.labels["status"]: one.amount for one in requests.taken()}
    assert first == {"200": 2, "500": 0, "503": 0}
    requests.add("GET", "/api/jobs/", 500)
    assert [(one.labels["status"], one.amount) for one in requests.taken()] == [("500", 1)]


async def test_what_fails_took_time_too() -> None:
    async def fail() -> None:
        raise ValueError("gone")

    seconds = Spread(BOUNDS)
    with pytest.raises(ValueError, match="gone"):
        await timed(seconds, fail())
    assert totals(seconds)["_count", ""] == 1
