"""Where the floor lies between what nothing answers and what something answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.off_topic import PROMPTS
from serve_app.score_floor import floor_between

RNG = np.random.default_rng(7)
NORMAL = RNG.normal(size=20_000)


def test_normal_scores_are_parted_with_equal_errors() -> None:
    """2 and 1 deviations that together span 9: the floor is 3 of each away."""
    floor = floor_between(0.10 + 0.02 * NORMAL, 0.19 + 0.01 * NORMAL)
    # s1 counts as at least s0: 0.09 / 0.04 deviations.
    assert floor == pytest.approx(0.145, abs=0.001)
    floor = floor_between(0.10 + 0.01 * NORMAL, 0.19 + 0.02 * NORMAL)
    assert floor == pytest.approx(0.13, abs=0.001)


def test_outliers_do_not_move_it() -> None:
    off, on = 0.1 + 0.01 * NORMAL[:300], 0.2 + 0.01 * NORMAL[:64]
    plain = floor_between(off, on)
    off[:20], on[:4] = 0.2, 0.05
    moved = floor_between(off, on)
    assert plain is not None
    assert moved == pytest.approx(plain, abs=0.006), "of the 0.1 between the two"


def test_answers_are_spared_where_the_two_overlap() -> None:
    floor = floor_between(0.10 + 0.02 * NORMAL, 0.16 + 0.02 * NORMAL)
    assert floor == pytest.approx(0.12, abs=0.001), "two deviations below 0.16, not the middle"


def test_there_is_none_where_the_two_are_the_same() -> None:
    off = 0.10 + 0.02 * NORMAL
    for on in (off, off - 0.05, off + 0.03, np.full(64, 0.1)):
        assert floor_between(off, on) is None
    assert floor_between(np.full(300, 0.1), np.full(64, 0.4)) is None, "constant scores tell nothing"


@given(st.floats(-1, 1), st.floats(0.01, 100))
def test_it_follows_the_models_range_of_scores(shift: float, scale: float) -> None:
    off, on = 0.1 + 0.02 * NORMAL[:300], 0.3 + 0.02 * NORMAL[:64]
    plain, moved = floor_between(off, on), floor_between(shift + scale * off, shift + scale * on)
    assert plain is not None
    assert moved == pytest.approx(shift + scale * plain, abs=1e-9 * (1 + scale))


def test_the_prompts_are_many_and_differ() -> None:
    assert len({prompt.lower() for prompt in PROMPTS}) == len(PROMPTS) > 300
