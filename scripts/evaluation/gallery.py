"""Drawings that training never saw, prepared and embedded by the code that serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Resampling

from scripts.garments.picture import Look, draw, random_look
from scripts.garments.vocabulary import COLOURS, KINDS, PATTERNS
from serve_app.checkpoints import Preprocessing
from serve_app.encoder import FashionClipEncoder
from serve_app.photos import ImageGeometry, prepare_photo

PHOTO_SIZE_PX = (168, 210)
CHUNK = 128


@dataclass(frozen=True)
class Gallery:
    """What `vectors` float32 (n, d) show."""

    looks: list[Look]
    vectors: NDArray[np.float32]


def every_combination(seed: int, each: int) -> Iterator[tuple[Look, Random]]:
    """`each` looks of every kind, colour and pattern, with the dice that draw them."""
    for kind, colour, pattern in product(KINDS, COLOURS, PATTERNS):
        for number in range(each):
            rng = Random(f"held out:{seed}:{kind}:{colour}:{pattern}:{number}")
            yield random_look(rng, kind, colour, pattern), rng


def at_random(seed: int, count: int) -> Iterator[tuple[Look, Random]]:
    """`count` looks by lot, with the dice that draw them."""
    for number in range(count):
        rng = Random(f"held out at random:{seed}:{number}")
        yield random_look(rng), rng


def geometry_of(preprocessing: Preprocessing) -> ImageGeometry:
    return ImageGeometry(
        preprocessing.shortest_edge_px, preprocessing.crop_px, Resampling(preprocessing.resample)
    )


def photograph(look: Look, rng: Random, geometry: ImageGeometry) -> NDArray[np.uint8]:
    """A JPEG of the look, decoded and resized as an upload is: uint8 (S, S, 3)."""
    file = BytesIO()
    draw(look, rng, PHOTO_SIZE_PX, oversampling=1).save(file, "JPEG", quality=90)
    return prepare_photo(file.getvalue(), geometry)


def embedded(
    encoder: FashionClipEncoder, geometry: ImageGeometry, drawn: Iterable[tuple[Look, Random]]
) -> Gallery:
    """Draw, photograph and embed."""
    looks: list[Look] = []
    vectors: list[NDArray[np.float32]] = []
    waiting: list[NDArray[np.uint8]] = []
    for look, rng in drawn:
        looks.append(look)
        waiting.append(photograph(look, rng, geometry))
        if len(waiting) == CHUNK:
            vectors.append(encoder.encode_images(np.stack(waiting)))
            waiting.clear()
    if waiting:
        vectors.append(encoder.encode_images(np.stack(waiting)))
    return Gallery(looks, np.concatenate(vectors))
