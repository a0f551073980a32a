"""Queries to Chroma: those of one shop that wait together share an HTTP call."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from configs.serving import CallArgs
from db.vectors import VectorStore
from models.search import Hit
from serve_app.batches import Batches
from serve_app.ports import Vector


class _Query(NamedTuple):
    version_id: int
    shop_id: int
    k: int
    vector: Vector

    @property
    def call(self) -> tuple[int, int, int]:
        """Queries that are equal here can share one."""
        return self.version_id, self.shop_id, self.k


class IndexQueries:
    """Of all index versions; for one event loop."""

    def __init__(self, store: VectorStore, calls: CallArgs) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(calls.search_calls, "queries")
        self.batches = Batches[_Query, list[Hit]](
            self._answer,
            calls.per_call,
            at_once=calls.search_calls,
            most_waiting=calls.waiting,
            part="The search index",
            together=lambda query: query.call,
        )

    def tune(self, max_size: int, wait_s: float) -> None:
        """Queries of one call to Chroma, and how long the first of them waits for others."""
        self.batches.max_size, self.batches.wait_s = max_size, wait_s

    async def __call__(self, version_id: int, shop_id: int, vector: Vector, k: int) -> list[Hit]:
        """The shop's ``k`` photos nearest to the vector (d,), best first.

        Raises TooBusy, DependencyUnavailable, DependencyTimeout.
        """
        return await self.batches(_Query(version_id, shop_id, k, vector))

    async def ping(self) -> None:
        """Raises DependencyUnavailable, DependencyTimeout where Chroma does not answer."""
        await asyncio.to_thread(self._store.ping)

    async def _answer(self, queries: list[_Query]) -> list[list[Hit]]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._query, queries)

    def _query(self, queries: list[_Query]) -> list[list[Hit]]:
        first, vectors = queries[0], np.stack([query.vector for query in queries])
        return self._store.query(first.version_id, first.shop_id, vectors, first.k)
