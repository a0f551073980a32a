"""Recall of photos by their texts, and when its loss is more than chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.regression import DEPTH, figures, outcomes, overlap, regressions


def unit(rng: np.random.Generator, rows: int, width: int = 8) -> np.ndarray:
    vectors = rng.normal(size=(rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
def test_ranks_are_those_of_a_sorted_list(seed: int, photos: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    gallery, groups = unit(rng, photos), rng.integers(0, kinds, photos)
    asked = rng.permutation(photos)[: rng.integers(1, photos + 1)]
    texts = unit(rng, len(asked))
    found = outcomes(texts, gallery, groups, asked)
    for vector, place, (first, tenth, reciprocal) in zip(texts, asked, found.tolist(), strict=True):
        order = sorted(range(photos), key=lambda i: -float(gallery[i] @ vector))
        rank = 1 + next(at for at, i in enumerate(order) if groups[i] == groups[place])
        assert (first, tenth) == (rank == 1, rank <= DEPTH)
        assert reciprocal == pytest.approx(1 / rank if rank <= DEPTH else 0)


def test_a_model_to_which_all_is_alike_finds_nothing() -> None:
    same = np.ones((30, 4), np.float32) / 2
    found = figures(outcomes(same, same, np.arange(30), np.arange(30)))
    assert found is not None
    assert (found.recall_at_1, found.recall_at_10, found.mrr_at_10) == (0, 0, 0)


def test_a_loss_counts_where_it_is_larger_than_allowed_and_than_chance() -> None:
    good = np.ones((200, 3))
    bad = good.copy()
    bad[:20] = 0
    (first, *_) = found = regressions(good, bad, 0.05, comparisons=1)
    assert [one.measure for one in found] == ["recall@1", "recall@10", "MRR@10"]
    assert (first.before, first.after, first.loss) == pytest.approx((1, 0.9, 0.1))
    assert regressions(good, bad, 0.11, comparisons=1) == [], "allowed"
    assert regressions(bad, good, 0.0, comparisons=1) == [], "a gain"
    few = np.ones((6, 3))
    worse = few.copy()
    worse[0] = 0
    assert regressions(few, worse, 0.02, comparisons=1) == [], "one of six may be chance"
    bad[6:20] = 1
    assert regressions(good, bad, 0.02, comparisons=1) != []
    assert regressions(good, bad, 0.02, comparisons=600) == [], "among 600 figures one falls by chance"


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [([1, 2], [2, 1], 1.0), ([1, 2, 3, 4], [1], 0.25), ([], [1], 0.0), ([], [], None)],
)
def test_overlap(before: list[int], after: list[int], share: float | None) -> None:
    assert overlap(before, after) == share
