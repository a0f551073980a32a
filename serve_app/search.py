"""The shop's photos, ranked by their similarity to one vector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from db import images
from db.images import ImageRow
from serve_app.ports import Vector
from serve_app.services import Services

SPARE = 8
GROWTH = 4
MAX_CANDIDATES = 2000


@dataclass(frozen=True, slots=True)
class Scored:
    """A photo with the cosine similarity of its vector and the query's."""

    row: ImageRow
    score: float


class Search:
    """One vector against the photos of one shop that match."""

    def __init__(self, services: Services, shop_id: int, vector: Vector) -> None:
        self._services = services
        self._shop_id = shop_id
        self._vector = vector

    async def best(self, count: int) -> list[Scored]:
        """The first ``count`` of the matching photos, by falling score and, among equals, by rising id.

        PostgreSQL has the last word on what exists: the index may still hold photos that were deleted or
        replaced a moment ago, so it is asked for spare ones, and for more while too few of them remain.
        """
        services, wanted = self._services, count + SPARE
        while True:
            hits = await services.index.query(self._shop_id, self._vector, wanted)
            query = partial(images.embedded_rows, shop_id=self._shop_id, ids=[hit.image_id for hit in hits])
            found = await services.database.read(query)
            kept = [Scored(found[hit.image_id], hit.score) for hit in hits if hit.image_id in found]
            if len(kept) >= count or len(hits) < wanted or wanted >= MAX_CANDIDATES:
                return kept[:count]
            wanted = min(wanted * GROWTH, MAX_CANDIDATES)
