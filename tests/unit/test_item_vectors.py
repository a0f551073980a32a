"""The vectors of items, without servers: the formula, and what is asked of the text tower."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.item_vectors import item_text, item_vector
from serve_app.ports import Vector

SEEDS = st.integers(0, 2**32 - 1)
WEIGHTS = st.floats(0, 1)


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=32)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@given(photo=SEEDS, text=SEEDS, weight=WEIGHTS)
def test_an_items_vector_is_the_weighted_mean_brought_to_length_one(
    photo: int, text: int, weight: float
) -> None:
    item = item_vector(unit(photo), unit(text), weight)
    mean = (1 - weight) * unit(photo).astype(np.float64) + weight * unit(text).astype(np.float64)
    assert item.dtype == np.float32
    assert np.linalg.norm(item) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(item, mean / np.linalg.norm(mean), atol=1e-6)


def test_no_weight_is_the_photo_and_all_the_weight_is_the_text() -> None:
    assert np.array_equal(item_vector(unit(1), unit(2), 0.0), unit(1))
    assert np.array_equal(item_vector(unit(1), unit(2), 1.0), unit(2))


def test_opposites_are_found_by_the_photo() -> None:
    assert np.array_equal(item_vector(unit(1), -unit(1), 0.5), unit(1))


def test_the_name_comes_first() -> None:
    assert item_text("Red dress", "Of silk") == "Red dress. Of silk"
    assert item_text("Red dress", "") == "Red dress"
