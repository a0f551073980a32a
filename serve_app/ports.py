"""What the use cases need from the outside, as Protocols; ``handles`` implements them over Ray Serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.search import Hit, PhotoVersions, TextEmbedding

Vector = NDArray[np.float32]
Pixels = NDArray[np.uint8]


class TextEmbedder(Protocol):
    async def embed(self, prompt: str) -> TextEmbedding:
        """Raises TooBusy, DependencyTimeout, DependencyUnavailable."""
        ...

    async def ping(self) -> None:
        """Raises the same when the model does not answer now."""
        ...


class ImageEmbedder(Protocol):
    async def embed(self, pixels: Pixels) -> Vector:
        """``pixels``: (n, S, S, 3) uint8 → (n, d) float32, unit length. Raises as TextEmbedder does."""
        ...


class VectorIndex(Protocol):
    async def query(self, shop_id: int, vector: Vector, k: int) -> list[Hit]:
        """At most ``k`` hits of that shop, best first. Raises as TextEmbedder does."""
        ...

    async def nearest(self, shop_id: int, vector: Vector, photos: PhotoVersions, k: int) -> list[Hit]:
        """At most ``k`` of these photos, best first, by exact comparison; scores to 6 decimals, equals by id.

        A photo that has no vector (any more) is left out. Raises as TextEmbedder does.
        """
        ...

    async def vectors(self, shop_id: int, photos: PhotoVersions) -> Vector:
        """The photos' vectors (n, d); zeros where there is none (any more). Raises as TextEmbedder does."""
        ...

    async def ping(self) -> None:
        """Raises DependencyUnavailable when the index does not answer."""
        ...


class BulkImageEmbedder(Protocol):
    """The image tower as background work calls it: from an ordinary thread."""

    def embed(self, pixels: Pixels) -> Vector:
        """``pixels``: (n, S, S, 3) uint8 → (n, d) float32, unit length. Raises DependencyUnavailable."""
        ...


class BulkTextEmbedder(Protocol):
    """The text tower as background work calls it."""

    def embed(self, texts: Sequence[str]) -> Vector:
        """(n, d) float32, unit length, for n ≥ 1 texts. Raises TooBusy, DependencyTimeout,
        DependencyUnavailable."""
        ...


@dataclass(frozen=True)
class BulkEmbedders:
    """Both towers."""

    image: BulkImageEmbedder
    text: BulkTextEmbedder


class EventCounter(Protocol):
    """A number for the operator's dashboards, which only grows."""

    def increment(self) -> None: ...
