"""Exact search among named photos: their vectors from memory, the missing ones from PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from db import embeddings
from db.session import Database
from models.search import Hit, PhotoVersions, VersionRef
from serve_app.ports import Vector
from serve_app.vector_cache import ShopVectors, VectorCache

PHOTOS_PER_READ = 5_000
Stored = Callable[..., tuple[PhotoVersions, Vector]]


class ExactSearch:
    """The two exact methods of a VectorIndex, for any index version.

    No vector is out of date: a photo is named with the revision of its vector, and an older one is not used.
    """

    def __init__(self, database: Database, cache_bytes: int) -> None:
        self._database = database
        self._cache = VectorCache(cache_bytes)

    async def nearest(
        self, ref: VersionRef, shop_id: int, vector: Vector, photos: PhotoVersions, k: int
    ) -> list[Hit]:
        """At most ``k`` of these photos, best first. Raises DependencyUnavailable, DependencyTimeout."""
        async with self._loaded(ref, shop_id, photos) as shop:
            return await asyncio.to_thread(shop.nearest, vector, photos, k)

    async def vectors(self, ref: VersionRef, shop_id: int, photos: PhotoVersions) -> Vector:
        """(n, d); zeros where a photo has no vector. Raises as ``nearest`` does."""
        async with self._loaded(ref, shop_id, photos) as shop:
            return await asyncio.to_thread(shop.take, photos)

    @asynccontextmanager
    async def _loaded(
        self, ref: VersionRef, shop_id: int, photos: PhotoVersions
    ) -> AsyncIterator[ShopVectors]:
        """The shop's vectors, those of the photos among them as far as they exist. One caller at a time."""
        shop = self._cache.of_shop(ref, shop_id)
        async with shop.lock:
            if len(shop.missing(photos)):
                stored = partial(
                    embeddings.indexed, shop_id=shop_id, model_key=ref.model_key, dimension=ref.dimension
                )
                await self._load(stored, shop, self._cache.make_room(shop, photos))
            yield shop

    async def _load(self, stored: Stored, shop: ShopVectors, photos: PhotoVersions) -> None:
        for start in range(0, len(photos), PHOTOS_PER_READ):
            part = photos.ids[start : start + PHOTOS_PER_READ].tolist()
            found, vectors = await self._database.read(partial(stored, image_ids=part))
            await asyncio.to_thread(shop.put, found, vectors)
