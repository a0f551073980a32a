"""The shop's photos that match, ranked by their similarity to one vector."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from sqlalchemy.orm import Session

from configs.serving import SearchArgs
from db import item_vectors, matching
from db.matching import Matching
from db.session import Database
from db.shown_photos import ShownPhoto
from models.filter_api import Filters
from models.search import Hit, PhotoVersions
from serve_app.measures import Stages, timed
from serve_app.ports import Vector, VectorIndex
from serve_app.served_model import ServedModel
from serve_app.shown_rows import ShownRows

T = TypeVar("T")

SPARE = 8
GROWTH = 4
MAX_CANDIDATES = 10_000
# Deeper pages come from exact search, where the shop is small enough: the index would be asked for so many
# that it finds them less reliably.
DEEP = 190
# Filtered afterwards, the last places count as well as the first, and the index finds those less reliably
# unless it is asked for more: with 200, recall@10 was 0.98 for a filter that a tenth of the photos match.
LOOKED_AT = 400
FACTOR = 4  # more photos than "few" are compared where the index did not find enough
PHOTOS_PER_CALL = 20_000
SCORE_DECIMALS = 6
EVERYTHING = Matching()


@dataclass(frozen=True, slots=True)
class Scored:
    """A photo with the cosine similarity of its vector and the query's, rounded to 6 decimals."""

    row: ShownPhoto
    score: float


class SearchParts(Protocol):
    """What of ``Services`` a search needs."""

    @property
    def database(self) -> Database: ...

    @property
    def shown(self) -> ShownRows: ...

    @property
    def index(self) -> VectorIndex: ...

    @property
    def search(self) -> SearchArgs: ...

    @property
    def model(self) -> ServedModel: ...

    @property
    def stages(self) -> Stages: ...


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may answer. ``photos``: those that match; None: not looked up, or more than are compared."""

    matching: Matching
    photos: PhotoVersions | None


async def candidates(services: SearchParts, shop_id: int, filters: Filters | None) -> Candidates | None:
    """The photos that match; None without filters. Raises UnknownReference for a term that does not exist.

    They are not named where PostgreSQL would have to read all of the shop's: the index is tried first.
    """
    if filters is None or not filters.model_fields_set:
        return None
    limit = services.search.exact_photos

    def find(session: Session) -> Candidates:
        wanted = matching.resolve(session, filters)
        named = None if wanted.reads_all else matching.versions(session, shop_id, wanted, limit)
        return Candidates(wanted, named)

    return await services.database.read(find)


class Search:
    """One vector against the candidates of one shop; ``without`` are ids to leave out."""

    def __init__(
        self,
        services: SearchParts,
        shop_id: int,
        vector: Vector,
        *,
        candidates: Candidates | None = None,
        without: Collection[int] = frozenset(),
    ) -> None:
        self._services = services
        self._shop_id = shop_id
        self._vector = vector
        self._wanted = EVERYTHING if candidates is None else candidates.matching
        self._photos = None if candidates is None else candidates.photos
        self._filtered = candidates is not None
        self._without = frozenset(without)

    async def best(self, count: int) -> list[Scored]:
        """The first ``count`` of the matching photos, by falling score and, among equals, by rising id.

        Exact where no more than ``search.exact_photos`` match and PostgreSQL can look them up. Otherwise as
        the index finds them; where it does not find enough, all that match are compared: up to four times as
        many soon, up to ``search.max_exact_photos`` after it was asked for as many as it may be. Deep pages
        without filters do not ask it where the shop has no more than four times as many.
        """
        limits, depth = self._services.search, self._first_depth(count)
        if self._photos is None and self._filtered:
            found, complete = await self._as_indexed(count, depth, most=depth)
            if complete:
                return found
            self._photos, depth = await self._all(limits.exact_photos * FACTOR), depth * GROWTH
        elif self._photos is None and count > DEEP:
            self._photos = await self._all(limits.exact_photos * FACTOR)
        if self._photos is None:
            found, complete = await self._as_indexed(count, min(depth, MAX_CANDIDATES), MAX_CANDIDATES)
            if complete:
                return found
            self._photos = await self._all(limits.max_exact_photos)
            if self._photos is None:
                return found
        return await self._exact(self._photos, count)

    async def of_products(self, product_ids: Collection[str]) -> list[Scored]:
        """All matching photos of these products, in the order of ``best``."""
        rows = await self._read(partial(matching.rows_of_products, product_ids=product_ids))
        known = {row.image_id: row for row in rows}
        hits = await self._nearest(_versions(rows), len(rows))
        return [Scored(known[hit.image_id], hit.score) for hit in hits]

    async def vectors(self, rows: Sequence[ShownPhoto]) -> Vector:
        """The vectors (n, d) of what these photos show, zeros for one that is gone by now.

        Where the shop gives text a weight they are found by others, in which photos with the same words look
        alike.
        """
        services, photos = self._services, _versions(rows)
        of_pixels = partial(
            item_vectors.replaced, model_key=services.model.key, image_ids=photos.ids.tolist()
        )
        indexed, others = await asyncio.gather(
            services.index.vectors(self._shop_id, photos), services.database.read(of_pixels)
        )
        vectors = indexed.copy() if others else indexed
        for place, row in enumerate(rows):
            vectors[place] = others.get(row.image_id, indexed[place])
        return vectors

    def _first_depth(self, count: int) -> int:
        """How many the index is asked for first."""
        wanted = count + SPARE + len(self._without)
        if self._filtered:
            wanted = max(wanted * GROWTH, LOOKED_AT)
        return min(wanted * 2 if count > DEEP else wanted, MAX_CANDIDATES)

    async def _as_indexed(self, count: int, wanted: int, most: int) -> tuple[list[Scored], bool]:
        """What the index finds, asked for ``wanted`` to ``most``; and whether that is all there is to find.

        PostgreSQL has the last word on what exists and matches: the index may still hold photos that were
        deleted or replaced a moment ago, so it is asked for spare ones, and for more while too few of them
        remain, or while the last one's equals may be missing.
        """
        while True:
            asked = self._services.index.query(self._shop_id, self._vector, wanted)
            hits = await timed(self._services.stages.search, asked)
            ranked = sorted((Hit(hit.image_id, _rounded(hit.score)) for hit in hits), key=_order)
            found = await self._matching(ranked, count)
            if len(hits) < wanted or (len(found) == count and found[-1].score > ranked[-1].score):
                return found, True
            if wanted == most:
                return found, False
            wanted = min(wanted * GROWTH, most)

    async def _exact(self, photos: PhotoVersions, count: int) -> list[Scored]:
        """Some may have changed since they were found to match, so more than ``count`` are ranked."""
        wanted = count + SPARE
        while True:
            found = await self._matching(await self._nearest(photos, wanted), count)
            if len(found) == count or wanted >= len(photos):
                return found
            wanted *= GROWTH

    async def _nearest(self, photos: PhotoVersions, k: int) -> list[Hit]:
        photos = photos[~np.isin(photos.ids, list(self._without))]
        hits: list[Hit] = []
        for start in range(0, len(photos), PHOTOS_PER_CALL):
            part = photos[start : start + PHOTOS_PER_CALL]
            asked = self._services.index.nearest(self._shop_id, self._vector, part, k)
            hits += await timed(self._services.stages.search, asked)
        return sorted(hits, key=_order)[:k]

    async def _matching(self, hits: Iterable[Hit], count: int) -> list[Scored]:
        """The first ``count`` that match now, in the order of the hits."""
        scores = {hit.image_id: hit.score for hit in hits if hit.image_id not in self._without}
        if self._filtered:
            found = self._read(partial(matching.rows, ids=list(scores), limit=count))
            rows = await timed(self._services.stages.rows, found)
        else:
            shown = self._services.shown.of(self._shop_id, scores)
            known = await timed(self._services.stages.rows, shown)
            rows = [known[image_id] for image_id in scores if image_id in known][:count]
        return [Scored(row, scores[row.image_id]) for row in rows]

    async def _all(self, limit: int) -> PhotoVersions | None:
        return await self._read(partial(matching.versions, limit=limit))

    async def _read(self, query: Callable[..., T]) -> T:
        return await self._services.database.read(
            partial(query, shop_id=self._shop_id, matching=self._wanted)
        )


def _rounded(score: float) -> float:
    return round(score, SCORE_DECIMALS)


def _order(hit: Hit) -> tuple[float, int]:
    return -hit.score, hit.image_id


def _versions(rows: Sequence[ShownPhoto]) -> PhotoVersions:
    ids = np.array([row.image_id for row in rows], np.int32)
    return PhotoVersions(ids, np.array([row.vector_revision for row in rows], np.int32))
