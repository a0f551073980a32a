"""Whether `search.near_duplicate_score` tells copies of a photo from photos of other garments."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from itertools import groupby
from random import Random

import numpy as np
from PIL import Image, ImageEnhance

from configs.serving import SearchArgs
from scripts.evaluation.gallery import Gallery
from scripts.garments.picture import draw, random_look
from serve_app.encoder import FashionClipEncoder
from serve_app.photos import ImageGeometry, prepare_photo
from serve_app.ranking import fold

THRESHOLD = SearchArgs().near_duplicate_score
ORIGINAL_SIZE_PX = (480, 600)

TARGETS = {
    "copies found: re-encoded, resized, ±8 % light": 0.99,
    "copies found: cropped by 2 % a side": 0.80,
    "other garments kept: a catalogue by lot": 0.99,
    "other garments kept: pairs of one kind, colour, pattern": 0.99,
}


def _jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _lit(picture: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(factor)


def _cropped(picture: Image.Image, share: float) -> Image.Image:
    width, height = picture.size
    x, y = round(width * share), round(height * share)
    return picture.crop((x, y, width - x, height - y))


SAME: tuple[Callable[[Image.Image], bytes], ...] = (
    lambda picture: _jpeg(picture, 50),
    lambda picture: _jpeg(picture.resize((240, 300))),
    lambda picture: _jpeg(_lit(picture, 1.08)),
    lambda picture: _jpeg(_lit(picture, 0.92)),
)
CROPPED: tuple[Callable[[Image.Image], bytes], ...] = (lambda picture: _jpeg(_cropped(picture, 0.02)),)


def figures(
    encoder: FashionClipEncoder, geometry: ImageGeometry, seed: int, catalogue: Gallery, alike: Gallery
) -> dict[str, float]:
    """Shares in [0, 1]. ``catalogue``: looks by lot. ``alike``: each kind, colour and pattern in a row."""
    pictures = [_picture(seed, number) for number in range(128)]
    originals = _embedded(encoder, geometry, [_jpeg(picture) for picture in pictures])

    def found(changes: tuple[Callable[[Image.Image], bytes], ...]) -> float:
        copies = [_embedded(encoder, geometry, [change(one) for one in pictures]) for change in changes]
        return float(np.mean([(originals * copy).sum(axis=1) >= THRESHOLD for copy in copies]))

    kept = fold(catalogue.vectors, THRESHOLD, len(catalogue.looks)).kept
    names = TARGETS.keys()
    values = found(SAME), found(CROPPED), len(kept) / len(catalogue.looks), _pairs_kept(alike)
    return dict(zip(names, values, strict=True))


def _pairs_kept(alike: Gallery) -> float:
    """Share of the pairs of looks of one kind, colour and pattern that stay below the threshold."""
    pairs: list[np.ndarray] = []
    names = [(look.kind, look.colour, look.pattern) for look in alike.looks]
    for _, group in groupby(range(len(names)), key=names.__getitem__):
        vectors = alike.vectors[list(group)]
        pairs.append((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)])
    return float((np.concatenate(pairs) < THRESHOLD).mean())


def _picture(seed: int, number: int) -> Image.Image:
    rng = Random(f"near duplicates:{seed}:{number}")
    return draw(random_look(rng), rng, ORIGINAL_SIZE_PX, oversampling=1)


def _embedded(encoder: FashionClipEncoder, geometry: ImageGeometry, photos: list[bytes]) -> np.ndarray:
    """(n, d) float32."""
    return encoder.encode_images(np.stack([prepare_photo(photo, geometry) for photo in photos]))
