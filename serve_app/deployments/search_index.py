"""Queries to Chroma, those of one shop that wait together in one HTTP call; and exact search."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.serving import SearchUserConfig
from configs.settings import Settings
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError, ConfigurationError
from models.search import Hit, PhotoVersions, VersionRef
from serve_app.batches import Batches
from serve_app.context import ServingContext
from serve_app.exact_search import ExactSearch
from serve_app.ports import Vector

DATABASE_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class _Query:
    version_id: int
    shop_id: int
    vector: Vector
    k: int


class SearchIndex:
    """Reads the index version that each call names; their vectors share the memory that there is for them."""

    def __init__(self, context: ServingContext) -> None:
        address = Settings().chroma_url
        if address is None:
            raise ConfigurationError("CHROMA_URL is not set. Set it to the Chroma server's address.")
        self._store = VectorStore(address, context.args.collection)
        self._batch = Batches(self._answer, SearchUserConfig().max_batch_size)
        database = Database.configured(connections=DATABASE_CONNECTIONS)
        self._exact = ExactSearch(database, context.args.search.cache_mb * 2**20)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply ``user_config`` without a restart."""
        tuning = SearchUserConfig.model_validate(user_config)
        self._batch.max_size, self._batch.wait_s = tuning.max_batch_size, tuning.batch_wait_timeout_s

    async def query(
        self, ref: VersionRef, shop_ids: Sequence[int], vectors: Vector, counts: Sequence[int]
    ) -> list[list[Hit] | AppError]:
        """For each of the n vectors (n, d) so many hits of its shop, best first, or why there are none."""
        queries = (
            _Query(ref.version_id, shop_id, vector, k)
            for shop_id, vector, k in zip(shop_ids, vectors, counts, strict=True)
        )
        found = await asyncio.gather(*map(self._batch, queries), return_exceptions=True)
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
        await asyncio.to_thread(self._store.ping)

    async def _answer(self, queries: list[_Query]) -> list[list[Hit] | AppError]:
        collections: dict[tuple[int, int], list[int]] = {}
        for position, query in enumerate(queries):
            collections.setdefault((query.version_id, query.shop_id), []).append(position)
        answers: list[list[Hit] | AppError] = [[] for _ in queries]

        async def ask(positions: list[int]) -> None:
            found = await asyncio.to_thread(
                self._query_collection, [queries[position] for position in positions]
            )
            for position, answer in zip(positions, found, strict=True):
                answers[position] = answer

        await asyncio.gather(*(ask(positions) for positions in collections.values()))
        return answers

    def _query_collection(self, queries: list[_Query]) -> Sequence[list[Hit] | AppError]:
        """One call for all; an error is each query's answer, so that other shops' queries still succeed."""
        vectors = np.stack([query.vector for query in queries])
        largest = max(query.k for query in queries)
        try:
            found = self._store.query(queries[0].version_id, queries[0].shop_id, vectors, largest)
        except AppError as error:
            return [error for _ in queries]
        return [hits[: query.k] for query, hits in zip(queries, found, strict=True)]


def _hits_or_error(found: list[Hit] | BaseException) -> list[Hit] | AppError:
    if isinstance(found, BaseException) and not isinstance(found, AppError):
        raise found
    return found
