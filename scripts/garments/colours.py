"""Colours of cloth, of details and of what lies behind the garment, as RGB from 0 to 255."""

from __future__ import annotations

import colorsys
import math
from random import Random

from scripts.garments.vocabulary import COLOUR_HSV

RGB = tuple[int, int, int]
FLOWERS: tuple[RGB, ...] = (
    (250, 240, 235),
    (245, 160, 190),
    (250, 205, 70),
    (120, 90, 200),
    (225, 60, 80),
    (250, 150, 60),
    (90, 150, 235),
)


def colour_of(rng: Random, name: str) -> RGB:
    """A shade that people call `name`."""
    (h0, h1), (s0, s1), (v0, v1) = COLOUR_HSV[name]
    hue = (rng.uniform(h0, h1) % 360) / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(s0, s1), rng.uniform(v0, v1))
    return round(red * 255), round(green * 255), round(blue * 255)


def mixed(one: RGB, other: RGB, share: float) -> RGB:
    """`one` with `share` of `other` in it."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def distance(one: RGB, other: RGB) -> float:
    return math.dist(one, other)


def brightness(colour: RGB) -> float:
    """Luma by ITU-R BT.601, 0 to 255."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def contrast_of(rng: Random, base: RGB) -> RGB:
    """A second colour that shows on `base`."""
    while True:
        draw = rng.random()
        if draw < 0.3:
            colour: RGB = (250, 247, 240)
        elif draw < 0.45:
            colour = (25, 25, 32)
        elif draw < 0.6:
            colour = mixed(
                base, (255, 255, 255) if brightness(base) < 150 else (20, 20, 30), rng.uniform(0.55, 0.8)
            )
        else:
            colour = colour_of(rng, rng.choice(tuple(COLOUR_HSV)))
        if distance(colour, base) > 150 and abs(brightness(colour) - brightness(base)) > 35:
            return colour


def tones(rng: Random, base: RGB) -> dict[str, RGB]:
    """The colours of the details of a garment whose cloth is `base`."""
    dark = brightness(base) < 60
    ink: RGB = (255, 255, 255) if dark else (15, 12, 20)
    seam = mixed(base, ink, 0.32 if dark else 0.42)
    return {
        "seam": seam,
        "edge": mixed(base, ink, 0.28 if dark else 0.5),
        "rib": mixed(base, ink, 0.17),
        "shade": mixed(base, ink, 0.1),
        "pale": mixed(base, (255, 255, 255), 0.22 if not dark else 0.12),
        "lining": mixed(base, (10, 8, 14) if not dark else (120, 118, 122), 0.55),
        "inner": rng.choice(((244, 244, 242), (60, 62, 70), (205, 205, 208))),
        "button": (246, 243, 235) if brightness(base) < 140 else (72, 58, 52),
        "cord": (245, 245, 242) if brightness(base) < 170 else (70, 70, 78),
        "metal": (214, 190, 120) if rng.random() < 0.5 else (188, 190, 198),
        "sole": rng.choice(((240, 238, 232), (225, 222, 214), (48, 44, 44))),
        "band": mixed(base, ink, 0.6),
        "fringe": seam,
        "handle": mixed(base, ink, 0.3),
    }
