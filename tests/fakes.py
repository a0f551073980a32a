"""The outside of the use cases in memory: embedders and an index that need no model and no server."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.errors import AppError
from models.search import Hit, PhotoVersions, TextEmbedding
from serve_app.photos import ImageGeometry
from serve_app.ports import Pixels, Vector
from serve_app.served_model import ServedModel

DIMENSION = 16
MAX_WORDS = 75
MODEL = ServedModel(
    source="/fake",
    name="fake",
    revision="1" * 40,
    key="fake@1/p1",
    dimension=DIMENSION,
    geometry=ImageGeometry(shortest_edge_px=8, crop_px=8),
    logit_scale=20.0,
    fell_back=False,
)


def vector_of(text: str) -> Vector:
    """(DIMENSION,) float32, unit length: texts that share words lie close together."""
    total = np.zeros(DIMENSION)
    for word in text.lower().split():
        total += np.random.default_rng(zlib.crc32(word.encode("utf-8", "replace"))).normal(size=DIMENSION)
    return (total / (np.linalg.norm(total) or 1.0)).astype(np.float32)


@dataclass
class FakeClock:
    """Stands still until it is moved. Seconds since 1970; noon UTC."""

    now: float = 1_800_014_400.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Tally:
    """An EventCounter."""

    count: int = 0

    def increment(self) -> None:
        self.count += 1


@dataclass
class FakeTextEmbedder:
    """Knows words by their checksum; ``error`` is raised instead of an answer."""

    error: AppError | None = None

    async def embed(self, prompt: str) -> TextEmbedding:
        if self.error is not None:
            raise self.error
        return TextEmbedding(vector_of(prompt), len(prompt.split()) > MAX_WORDS)

    async def ping(self) -> None:
        await self.embed("ready")


@dataclass
class FakeBulkTextEmbedder:
    """The same for background work; ``asked``: the texts it was given."""

    error: AppError | None = None
    asked: list[str] = field(default_factory=list)

    def embed(self, texts: Sequence[str]) -> Vector:
        if self.error is not None:
            raise self.error
        self.asked += texts
        return np.stack([vector_of(text) for text in texts])


@dataclass
class FakeImageEmbedder:
    error: AppError | None = None

    async def embed(self, pixels: Pixels) -> Vector:
        if self.error is not None:
            raise self.error
        return np.tile(vector_of("photo"), (len(pixels), 1))


@dataclass
class FakeIndex:
    """Exact search. Like Chroma it knows nothing of deletions until it is told."""

    error: AppError | None = None
    shops: dict[int, dict[int, Vector]] = field(default_factory=dict)
    largest_query: int = 0

    def put(self, shop_id: int, image_id: int, vector: Vector) -> None:
        self.shops.setdefault(shop_id, {})[image_id] = vector

    async def query(self, shop_id: int, vector: Vector, k: int) -> list[Hit]:
        if self.error is not None:
            raise self.error
        self.largest_query = max(self.largest_query, k)
        stored = self.shops.get(shop_id, {})
        hits = [Hit(image_id, float(vector @ one)) for image_id, one in stored.items()]
        return sorted(hits, key=lambda hit: (-hit.score, hit.image_id))[:k]

    async def nearest(self, shop_id: int, vector: Vector, photos: PhotoVersions, k: int) -> list[Hit]:
        if self.error is not None:
            raise self.error
        stored, exact = self.shops.get(shop_id, {}), vector.astype(np.float64)
        known = [one for one in photos.ids.tolist() if one in stored]
        hits = [Hit(one, round(float(stored[one].astype(np.float64) @ exact), 6)) for one in known]
        return sorted(hits, key=lambda hit: (-hit.score, hit.image_id))[:k]

    async def vectors(self, shop_id: int, photos: PhotoVersions) -> Vector:
        if self.error is not None:
            raise self.error
        stored, unknown = self.shops.get(shop_id, {}), np.zeros(DIMENSION, np.float32)
        found = [stored.get(one, unknown) for one in photos.ids.tolist()]
        return np.stack(found) if found else np.zeros((0, DIMENSION), np.float32)

    async def ping(self) -> None:
        if self.error is not None:
            raise self.error
