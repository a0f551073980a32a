"""How many photos a shop may store: exact, however many are uploaded at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from db import photo_counts
from db.session import Database
from models.errors import QuotaExceeded
from serve_app.callers import Caller

MARGIN = 1000


@dataclass(frozen=True, slots=True)
class _Count:
    """``photos`` of a shop at the time when ``newest_id`` was the last id that any photo had been given."""

    photos: int
    newest_id: int


class PhotoQuota:
    """Counts a shop's photos under a lock, where they may be as many as it may have.

    Ids of photos are handed out in order, over all shops. So since a count at most as many photos were
    added as ids were given; ``MARGIN`` is for transactions that had their ids, but were not committed then.
    An import sets the ids of a few batches aside before (``ImportArgs`` bounds them).
    While that sum is within the quota, there is nothing to count: a large shop far from its quota pays one
    look at the sequence. Remembered per process, a few bytes for each shop that uploads.
    """

    def __init__(self, max_photos: int | None) -> None:
        """``max_photos``: of shops whose row names none; None is no limit."""
        self._max_photos = max_photos
        self._counts: dict[int, _Count] = {}

    async def refuse_early(self, database: Database, caller: Caller) -> None:
        """Spare the work on a photo where the last upload found the shop full. Raises QuotaExceeded."""
        quota, known = self._quota(caller.max_photos), self._counts.get(caller.shop_id)
        if quota is None or known is None or known.photos < quota:
            return
        photos = await database.read(partial(photo_counts.living, shop_id=caller.shop_id))
        if photos >= quota:
            raise _full(quota)

    def require_room(self, session: Session, caller: Caller) -> None:
        """The last step of the transaction that adds a photo. Raises QuotaExceeded."""
        if self.excess(session, caller.shop_id, caller.max_photos):
            raise self.full(caller.max_photos)

    def excess(self, session: Session, shop_id: int, max_photos: int | None) -> int:
        """How many photos the shop has too many. The last step of a transaction that adds some.

        ``max_photos``: of the shop's row.
        """
        quota = self._quota(max_photos)
        if quota is None:
            return 0
        newest_id = photo_counts.newest_id(session)
        known = self._counts.get(shop_id)
        if known is not None and known.photos + (newest_id - known.newest_id) + MARGIN <= quota:
            return 0
        photos = photo_counts.living_alone(session, shop_id)
        self._counts[shop_id] = _Count(min(photos, quota), newest_id)
        return max(0, photos - quota)

    def full(self, max_photos: int | None) -> QuotaExceeded:
        """The error of a photo beyond the quota."""
        return _full(self._quota(max_photos) or 0)

    def _quota(self, max_photos: int | None) -> int | None:
        return self._max_photos if max_photos is None else max_photos


def _full(quota: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"The shop may store {quota:,} photos, and has as many. Delete some, or ask the operator for more."
    )
