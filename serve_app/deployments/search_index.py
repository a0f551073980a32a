"""Queries to Chroma, those of one shop that wait together in one HTTP call; and exact search."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray import serve

from configs.serving import SearchUserConfig
from configs.settings import Settings
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError, ConfigurationError
from models.search import Hit, PhotoVersions
from serve_app.context import ServingContext
from serve_app.exact_search import ExactSearch
from serve_app.ports import Vector

DATABASE_CONNECTIONS = 2


@dataclass(frozen=True, slots=True)
class _Query:
    shop_id: int
    vector: Vector
    k: int


class SearchIndex:
    """Reads one index version."""

    def __init__(self, context: ServingContext) -> None:
        address = Settings().chroma_url
        if address is None:
            raise ConfigurationError("CHROMA_URL is not set. Set it to the Chroma server's address.")
        self._store = VectorStore(address, context.args.collection)
        self._version_id = context.version_id
        database, model = Database.configured(connections=DATABASE_CONNECTIONS), context.model
        cache_bytes = context.args.search.cache_mb * 2**20
        self._exact = ExactSearch(database, model.key, model.dimension, cache_bytes)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply ``user_config`` without a restart."""
        tuning = SearchUserConfig.model_validate(user_config)
        self._batch.set_max_batch_size(tuning.max_batch_size)
        self._batch.set_batch_wait_timeout_s(tuning.batch_wait_timeout_s)

    async def query(self, shop_id: int, vector: Vector, k: int) -> list[Hit]:
        """At most ``k`` hits, best first. Raises DependencyUnavailable."""
        answer: list[Hit] | AppError = await self._batch(_Query(shop_id, vector, k))
        if isinstance(answer, AppError):
            raise answer
        return answer

    async def nearest(self, shop_id: int, vector: Vector, photos: PhotoVersions, k: int) -> list[Hit]:
        """At most ``k`` of these photos, best first, by exact comparison. Raises DependencyUnavailable."""
        return await self._exact.nearest(shop_id, vector, photos, k)

    async def vectors(self, shop_id: int, photos: PhotoVersions) -> Vector:
        """(n, d); zeros where a photo has no vector. Raises DependencyUnavailable."""
        return await self._exact.vectors(shop_id, photos)

    async def ping(self) -> None:
        """Raises DependencyUnavailable."""
        await asyncio.to_thread(self._store.ping)

    @serve.batch
    async def _batch(self, queries: list[_Query]) -> list[list[Hit] | AppError]:
        shops: dict[int, list[int]] = {}
        for position, query in enumerate(queries):
            shops.setdefault(query.shop_id, []).append(position)
        answers: list[list[Hit] | AppError] = [[] for _ in queries]

        async def ask(positions: list[int]) -> None:
            found = await asyncio.to_thread(self._query_shop, [queries[position] for position in positions])
            for position, answer in zip(positions, found, strict=True):
                answers[position] = answer

        await asyncio.gather(*(ask(positions) for positions in shops.values()))
        return answers

    def _query_shop(self, queries: list[_Query]) -> Sequence[list[Hit] | AppError]:
        """One call for all; an error is each query's answer, so that other shops' queries still succeed."""
        vectors = np.stack([query.vector for query in queries])
        largest = max(query.k for query in queries)
        try:
            found = self._store.query(self._version_id, queries[0].shop_id, vectors, largest)
        except AppError as error:
            return [error for _ in queries]
        return [hits[: query.k] for query, hits in zip(queries, found, strict=True)]
