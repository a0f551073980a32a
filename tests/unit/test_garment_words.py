"""Which words name a garment, and which name fits a photo."""

from __future__ import annotations

import numpy as np
import pytest

from serve_app.garment_words import NAMES, Garments, names_a_garment


@pytest.mark.parametrize(
    "prompt",
    [
        "dress",
        "two dresses",
        "Red SHOES, please",
        "a shoe",
        "scarves",
        "t-shirts",
        "a watch",
        "beanies",
        "boot.",
    ],
)
def test_garments_are_named_in_the_singular_and_the_plural(prompt: str) -> None:
    assert names_a_garment(prompt)


@pytest.mark.parametrize(
    "prompt", ["but in red", "with stripes", "dressy", "capable", "stopper", "longer sleeves"]
)
def test_other_words_name_none(prompt: str) -> None:
    assert not names_a_garment(prompt)


def test_a_photo_is_named_by_what_it_is_like() -> None:
    axes = np.eye(len(NAMES), dtype=np.float32)
    garments = Garments(axes, logit_scale=100.0)
    assert np.allclose(garments.kind_of(axes[3]), axes[3], atol=1e-6)
    between = (axes[3] + axes[5]) / np.float32(np.sqrt(2))
    assert np.allclose(garments.kind_of(between), (axes[3] + axes[5]) / 2, atol=1e-6)
    assert np.allclose(garments.neutral, 1 / len(NAMES))
