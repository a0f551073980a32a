"""Vectors that imitate those of a fashion model: clustered, of low intrinsic dimension, in two cones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
CLUSTERS = 60
VARIATIONS = 24
PHOTOS_PER_PRODUCT = 3
BLOCK = 4_096


@dataclass(frozen=True)
class Clustered:
    """``photos`` (n, d) with the cluster of each, and queries (m, d): other photos, and prompts."""

    photos: Array
    clusters: NDArray[np.int64]
    photo_queries: Array
    prompts: Array


def clustered(photos: int, queries: int, dimension: int, seed: int) -> Clustered:
    """Unit vectors: a direction that all photos share, a cluster (its size falls as 1/rank), a variation in
    ``VARIATIONS`` dimensions for each product, and noise for each of its photos.

    So two photos have a cosine of about 0.5, of one product 0.9. Prompts share the clusters but lie in a cone
    of their own, as the text tower's vectors do: their best photos reach about 0.3.
    """
    random = np.random.default_rng(seed)
    common, other = _unit(random.normal(size=(2, dimension)))
    centres = _unit(random.normal(size=(CLUSTERS, dimension)))
    basis = np.linalg.qr(random.normal(size=(dimension, VARIATIONS)))[0].T
    shares = 1 / np.arange(1, CLUSTERS + 1)

    def draw(count: int) -> NDArray[np.int64]:
        return random.choice(CLUSTERS, size=count, p=shares / shares.sum())

    def varied(clusters: NDArray[np.int64], spread: float) -> NDArray[np.float64]:
        moves = random.normal(size=(len(clusters), VARIATIONS)) / np.sqrt(VARIATIONS)
        return np.asarray(0.9 * centres[clusters] + spread * moves @ basis)

    def noise(count: int, size: float) -> NDArray[np.float64]:
        return np.asarray(size * random.normal(size=(count, dimension)) / np.sqrt(dimension))

    of_products = draw((photos + queries) // PHOTOS_PER_PRODUCT + 1)
    own = random.integers(0, len(of_products), photos + queries)
    products = 1.2 * common + varied(of_products, 0.8)
    all_photos = np.empty((len(own), dimension), np.float32)
    for start in range(0, len(own), BLOCK):  # in double precision, a million would take many gigabytes
        part = own[start : start + BLOCK]
        all_photos[start : start + BLOCK] = _unit(products[part] + noise(len(part), 0.25))
    prompts = _unit(2.0 * other + varied(draw(queries), 0.6) + noise(queries, 0.5))
    return Clustered(all_photos[:photos], of_products[own][:photos], all_photos[photos:], prompts)


def _unit(vectors: NDArray[np.float64]) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
