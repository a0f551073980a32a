"""Small drawn product photos, each seed another file."""

from __future__ import annotations

from functools import lru_cache
from random import Random

from scripts.garments.picture import Look, draw
from tests.photographs import encoded

SIZE_PX = (112, 140)


@lru_cache(maxsize=1024)
def garment(kind: str = "dress", colour: str = "red", pattern: str = "plain", seed: int = 0) -> bytes:
    """A JPEG file of a few kilobytes; the same for the same arguments."""
    picture = draw(Look(kind, colour, pattern), Random(f"{kind} {colour} {pattern} {seed}"), SIZE_PX)
    return encoded(picture, "JPEG", quality=85)
