"""Drawings: the same seed gives the same picture, and everything in the vocabulary draws."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest
from PIL import Image

from scripts.garments.colours import distance
from scripts.garments.picture import Look, draw, random_look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERNS

SIZE_PX = (64, 80)


def drawn(look: Look, seed: str, size_px: tuple[int, int] = SIZE_PX) -> Image.Image:
    return draw(look, Random(seed), size_px)


def test_there_are_enough_kinds_colours_and_patterns() -> None:
    assert len(KINDS) >= 12
    assert len(COLOURS) >= 12
    assert len(PATTERNS) >= 6


def test_one_seed_gives_one_picture_and_another_gives_another() -> None:
    look = Look("dress", "red", "floral", "short", "midi")
    assert drawn(look, "a").tobytes() == drawn(look, "a").tobytes()
    assert drawn(look, "a").tobytes() != drawn(look, "b").tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_colour_and_pattern_of_a_kind_draws(kind: str) -> None:
    for colour, pattern in product(COLOURS, PATTERNS):
        rng = Random(f"{kind} {colour} {pattern}")
        picture = draw(random_look(rng, kind, colour, pattern), rng, SIZE_PX)
        assert picture.size == SIZE_PX
        assert picture.mode == "RGB"
        assert np.asarray(picture).std() > 4, "an empty picture"


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if pattern != "plain"])
def test_a_pattern_shows_on_the_cloth(pattern: str) -> None:
    plain = np.asarray(drawn(Look("t-shirt", "blue", "plain", "short"), "same"), np.int16)
    printed = np.asarray(drawn(Look("t-shirt", "blue", pattern, "short"), "same"), np.int16)
    middle = (slice(30, 50), slice(22, 42))
    assert printed[middle].std(axis=(0, 1)).max() > plain[middle].std(axis=(0, 1)).max() + 20


@pytest.mark.parametrize("colour", COLOURS)
def test_a_plain_garment_has_its_colour_in_the_middle(colour: str) -> None:
    centres = {"red": (205, 25, 35), "white": (250, 250, 250), "black": (25, 25, 25), "navy": (22, 28, 82)}
    picture = drawn(Look("sweater", colour, "plain", "long"), "middle", (160, 160))
    pixel = picture.getpixel((80, 90))
    assert isinstance(pixel, tuple)
    if colour in centres:
        assert distance((pixel[0], pixel[1], pixel[2]), centres[colour]) < 60
    greyness = max(pixel) - min(pixel)
    assert (greyness < 40) == (colour in ("black", "white", "grey"))


def test_lengths_and_sleeves_differ() -> None:
    pictures = {
        drawn(Look("dress", "green", "plain", sleeve, length), "cut").tobytes()
        for sleeve in ("sleeveless", "short", "long")
        for length in ("mini", "midi", "maxi")
    }
    assert len(pictures) == 9
