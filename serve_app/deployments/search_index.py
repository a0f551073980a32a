"""Queries to Chroma with many hits, and exact search."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from configs.serving import SearchUserConfig
from configs.settings import Settings
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError, ConfigurationError
from models.search import Hit, PhotoVersions, VersionRef
from serve_app.context import ServingContext
from serve_app.deployments.metrics import Published
from serve_app.exact_search import ExactSearch
from serve_app.index_queries import IndexQueries
from serve_app.ports import Vector

DATABASE_CONNECTIONS = 2


class SearchIndex:
    """Reads the index version that each call names; their vectors share the memory that there is for them."""

    def __init__(self, context: ServingContext) -> None:
        address = Settings().chroma_url
        if address is None:
            raise ConfigurationError("CHROMA_URL is not set. Set it to the Chroma server's address.")
        self._queries = IndexQueries(VectorStore(address, context.args.collection), context.args.calls)
        published = Published()
        published.watch("deep_queries", self._queries.batches)
        self._publishing = asyncio.get_running_loop().create_task(published.run())
        database = Database.configured(connections=DATABASE_CONNECTIONS)
        self._exact = ExactSearch(database, context.args.search.cache_mb * 2**20)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply ``user_config`` without a restart."""
        tuning = SearchUserConfig.model_validate(user_config)
        self._queries.tune(tuning.max_batch_size, tuning.batch_wait_timeout_s)

    async def query(
        self, ref: VersionRef, shop_ids: Sequence[int], vectors: Vector, counts: Sequence[int]
    ) -> list[list[Hit] | AppError]:
        """For each of the n vectors (n, d) so many hits of its shop, best first, or why there are none."""
        asked = zip(shop_ids, vectors, counts, strict=True)
        calls = (self._queries(ref.version_id, *one) for one in asked)
        found = await asyncio.gather(*calls, return_exceptions=True)
        return [_hits_or_error(one) for one in found]

    async def nearest(
        self, ref: VersionRef, shop_id: int, vector: Vector, photos: PhotoVersions, k: int
    ) -> list[Hit]:
        """At most ``k`` of these photos, best first, by exact comparison. Raises DependencyUnavailable."""
        return await self._exact.nearest(ref, shop_id, vector, photos, k)

    async def vectors(self, ref: VersionRef, shop_id: int, photos: PhotoVersions) -> Vector:
        """(n, d); zeros where a photo has no vector. Raises DependencyUnavailable."""
        return await self._exact.vectors(ref, shop_id, photos)

    async def ping(self) -> None:
        """Raises DependencyUnavailable."""
        await self._queries.ping()


def _hits_or_error(found: list[Hit] | BaseException) -> list[Hit] | AppError:
    if isinstance(found, BaseException) and not isinstance(found, AppError):
        raise found
    return found
