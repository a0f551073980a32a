"""Average-link agglomeration equals its definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.ports import Vector
from serve_app.themes import YARDSTICK, themes, threshold
from tests.fakes import vector_of


def by_definition(vectors: Vector, least: float) -> list[list[int]]:
    """Joins the most similar two groups, all similarities computed anew each time."""
    groups = [[row] for row in range(len(vectors))]

    def similarity(pair: tuple[list[int], list[int]]) -> float:
        return float(np.mean([float(vectors[a] @ vectors[b]) for a in pair[0] for b in pair[1]]))

    while len(groups) > 1:
        best = max(combinations(groups, 2), key=similarity)
        if similarity(best) < least:
            break
        groups = [group for group in groups if group not in best] + [best[0] + best[1]]
    return sorted(sorted(group) for group in groups)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 12), least=st.floats(-0.5, 0.9))
def test_it_is_average_link(seed: int, count: int, least: float) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert themes(vectors, least) == by_definition(vectors, least)


def test_equal_texts_are_one_theme() -> None:
    vectors = np.tile(vector_of("red dress"), (5, 1))
    assert themes(vectors, 0.99) == [[0, 1, 2, 3, 4]]


def test_the_threshold_lies_halfway() -> None:
    """A model that says 0.9 of the same thing in other words, and 0.5 of things with a word in common."""
    colours, kinds, rest = np.split(np.eye(11), [4, 10])
    plain = np.stack([colour + kind for colour in colours for kind in kinds]) / np.sqrt(2)
    reworded = 0.9 * plain + np.sqrt(1 - 0.9**2) * rest
    assert threshold(np.concatenate([plain, reworded])) == pytest.approx(0.7)
    assert len(YARDSTICK) == 2 * len(plain)
    assert (YARDSTICK[0], YARDSTICK[24]) == ("red dress", "dress in red")
