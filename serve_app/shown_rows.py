"""The rows of answers without filters: those of requests that wait together are read at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from db import shown_photos
from db.session import Database
from db.shown_photos import ShownPhoto
from serve_app.batches import Batches

REQUESTS_PER_READ = 32
READS_AT_ONCE = 2  # so that one is prepared while PostgreSQL answers another
Asked = tuple[int, Collection[int]]
Found = dict[int, ShownPhoto]


class ShownRows:
    """For one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.batches = Batches[Asked, Found](self._read, REQUESTS_PER_READ, at_once=READS_AT_ONCE)

    async def of(self, shop_id: int, ids: Collection[int]) -> Found:
        """By id, those that may be shown, and others. Raises DependencyUnavailable, DependencyTimeout."""
        return await self.batches((shop_id, ids))

    async def _read(self, asked: list[Asked]) -> Sequence[Found]:
        wanted: defaultdict[int, set[int]] = defaultdict(set)
        for shop_id, ids in asked:
            wanted[shop_id].update(ids)

        def read(connection: Connection) -> dict[int, Found]:
            return {shop_id: shown_photos.by_id(connection, shop_id, ids) for shop_id, ids in wanted.items()}

        found = await self._database.fetch(read)
        return [found[shop_id] for shop_id, _ in asked]
