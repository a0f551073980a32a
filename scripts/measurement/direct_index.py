"""The search index without Serve: for measurements and tests on PostgreSQL and Chroma alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from configs.serving import SearchArgs
from db.session import Database
from db.vectors import VectorStore
from models.search import Hit, PhotoVersions, VersionRef
from serve_app.exact_search import ExactSearch
from serve_app.measures import Stages
from serve_app.ports import Vector
from serve_app.served_model import ServedModel
from serve_app.shown_rows import ShownRows


@dataclass(frozen=True)
class DirectIndex:
    """A VectorIndex: what the SearchIndex deployment does, in this process."""

    store: VectorStore
    ref: VersionRef
    exact: ExactSearch

    async def query(self, shop_id: int, vector: Vector, k: int) -> list[Hit]:
        (hits,) = await asyncio.to_thread(self.store.query, self.ref.version_id, shop_id, vector[None], k)
        return hits

    async def nearest(self, shop_id: int, vector: Vector, photos: PhotoVersions, k: int) -> list[Hit]:
        return await self.exact.nearest(self.ref, shop_id, vector, photos, k)

    async def vectors(self, shop_id: int, photos: PhotoVersions) -> Vector:
        return await self.exact.vectors(self.ref, shop_id, photos)

    async def ping(self) -> None:
        await asyncio.to_thread(self.store.ping)


@dataclass(frozen=True)
class DirectParts:
    """What a Search needs."""

    database: Database
    index: DirectIndex
    search: SearchArgs
    model: ServedModel

    stages: Stages = field(default_factory=Stages)

    @property
    def shown(self) -> ShownRows:
        return ShownRows(self.database)
