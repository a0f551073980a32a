"""Photos that a worker wrote into the search index under a lease which it may have lost meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db.open_shops import not_deleting
from models.image import Image, ImageStatus


@dataclass(frozen=True)
class Late:
    """What has to leave the index again: photos that no longer exist, ``gone``: image ids by shop; and the
    collections of ``closed`` shops, which were dropped, and which a late write made anew."""

    gone: dict[int, list[int]]
    closed: set[int]


def give_back(session: Session, token: str, photos: Mapping[int, int], delay_s: float = 0.0) -> Late:
    """Give up the leases of photos that stay embedded. ``photos``: their shops, by image id.

    Of a lease that was lost this worker's write may have come late: the photo is described anew, its deletion
    starts over. ``delay_s``: after a write that failed, until the next attempt.
    """
    query = select(col(Image.id), col(Image.status), col(Image.lease_token)).where(col(Image.id).in_(photos))
    rows = session.execute(query.order_by(col(Image.id)).with_for_update(key_share=True)).all()
    ours = [row.id for row in rows if row.lease_token == token]
    lost = [row for row in rows if row.lease_token != token]
    deleting = [row.id for row in lost if row.status is ImageStatus.DELETING]
    behind = [row.id for row in lost if row.status is not ImageStatus.DELETING]
    late = _late(session, photos, {row.id for row in rows}, set(ours))
    _change(session, ours, lease_token=None, lease_until=_after(delay_s))
    _change(session, deleting, lease_token=None, lease_until=None)
    _change(session, behind, metadata_revision=col(Image.metadata_revision) + 1, item_weight=None)
    return late


def find(session: Session, token: str, photos: Mapping[int, int]) -> Late:
    """Of such photos, without a change."""
    query = select(col(Image.id), col(Image.lease_token)).where(col(Image.id).in_(photos))
    rows = session.execute(query).all()
    return _late(session, photos, {row.id for row in rows}, {r.id for r in rows if r.lease_token == token})


def _late(session: Session, photos: Mapping[int, int], present: set[int], ours: set[int]) -> Late:
    """The deletion of a shop waits for the leases on its photos: so no lost one, no dropped collection."""
    lost = {shop_id for image_id, shop_id in photos.items() if image_id not in ours}
    closed = lost - not_deleting(session, lost)
    gone: dict[int, list[int]] = {}
    for image_id, shop_id in photos.items():
        if image_id not in present and shop_id not in closed:
            gone.setdefault(shop_id, []).append(image_id)
    return Late(gone, closed)


def _change(session: Session, image_ids: Collection[int], **values: object) -> None:
    if image_ids:
        session.execute(update(Image).where(col(Image.id).in_(image_ids)).values(**values))


def _after(delay_s: float) -> object:
    return func.now() + timedelta(seconds=delay_s) if delay_s > 0 else None
