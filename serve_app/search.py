"""The shop's photos, ranked by their similarity to one vector."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from db import images
from db.images import ImageRow
from models.search import Hit, PhotoVersions
from serve_app.ports import Vector
from serve_app.services import Services

SPARE = 8
GROWTH = 4
MAX_CANDIDATES = 2000
SCORE_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Scored:
    """A photo with the cosine similarity of its vector and the query's, rounded to 6 decimals."""

    row: ImageRow
    score: float


class Search:
    """One vector against the photos of one shop that match; ``without`` are ids to leave out."""

    def __init__(
        self, services: Services, shop_id: int, vector: Vector, *, without: Collection[int] = frozenset()
    ) -> None:
        self._services = services
        self._shop_id = shop_id
        self._vector = vector
        self._without = frozenset(without)

    async def best(self, count: int) -> list[Scored]:
        """The first ``count`` of the matching photos, by falling score and, among equals, by rising id.

        PostgreSQL has the last word on what exists: the index may still hold photos that were deleted or
        replaced a moment ago, so it is asked for spare ones, and for more while too few of them remain, or
        while the last one's equals may be missing.
        """
        services, wanted = self._services, count + SPARE + len(self._without)
        while True:
            hits = await services.index.query(self._shop_id, self._vector, wanted)
            kept = await self._existing(hits)
            complete = len(hits) < wanted or wanted >= MAX_CANDIDATES
            if complete or (len(kept) >= count and kept[count - 1].score > _rounded(hits[-1].score)):
                return kept[:count]
            wanted = min(wanted * GROWTH, MAX_CANDIDATES)

    async def of_products(self, product_ids: Collection[str]) -> list[Scored]:
        """All matching photos of these products, in the order of ``best``."""
        query = partial(images.embedded_of_products, shop_id=self._shop_id, product_ids=product_ids)
        rows = [row for row in await self._services.database.read(query) if row.image_id not in self._without]
        scores = await self._services.index.score(self._shop_id, self._vector, _versions(rows))
        return _ranked(
            Scored(row, _rounded(score))
            for row, score in zip(rows, scores.tolist(), strict=True)
            if not np.isnan(score)
        )

    async def vectors(self, rows: Sequence[ImageRow]) -> Vector:
        """The indexed vectors (n, d) of these photos, zeros for one that is gone by now."""
        return await self._services.index.vectors(self._shop_id, _versions(rows))

    async def _existing(self, hits: Sequence[Hit]) -> list[Scored]:
        wanted = [hit.image_id for hit in hits if hit.image_id not in self._without]
        query = partial(images.embedded_rows, shop_id=self._shop_id, ids=wanted)
        found = await self._services.database.read(query)
        return _ranked(
            Scored(found[hit.image_id], _rounded(hit.score)) for hit in hits if hit.image_id in found
        )


def _rounded(score: float) -> float:
    return round(score, SCORE_DECIMALS)


def _ranked(found: Iterable[Scored]) -> list[Scored]:
    return sorted(found, key=lambda one: (-one.score, one.row.image_id))


def _versions(rows: Sequence[ImageRow]) -> PhotoVersions:
    ids = np.array([row.image_id for row in rows], np.int64)
    return PhotoVersions(ids, np.array([row.image.vector_revision for row in rows], np.int64))
