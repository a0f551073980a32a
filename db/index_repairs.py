"""Photos whose entries in the search index are written anew: leases as in ``db.work``; they stay embedded."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db import index_truth
from db.index_truth import lease_is_free
from db.open_shops import lock_not_deleting
from db.vectors import VectorRecord
from models.image import Embedding, Image, ImageStatus, IndexVersion


@dataclass(frozen=True)
class Held:
    """Photos under one token: ``records`` as the index should have them, ``unwanted`` not at all (failed)."""

    token: str
    records: list[VectorRecord]
    unwanted: list[int]

    @property
    def ids(self) -> set[int]:
        return {record.image_id for record in self.records} | set(self.unwanted)


def claim(
    session: Session, version: IndexVersion, shop_id: int, image_ids: Collection[int], lease_s: float
) -> Held:
    """Lease those of the photos that nobody works on and that are not behind."""
    token = secrets.token_hex(16)
    if not image_ids or not lock_not_deleting(session, [shop_id]):
        return Held(token, [], [])
    locked = _lock(session, shop_id, image_ids, [ImageStatus.EMBEDDED, ImageStatus.FAILED])
    truths = index_truth.rows(session, version, shop_id, locked)
    records = [
        VectorRecord(one.image_id, one.vector, one.photo_sha256, one.terms)
        for one in truths
        if one.settled and one.vector is not None
    ]
    held = Held(token, records, [one.image_id for one in truths if one.status is ImageStatus.FAILED])
    lease = {"lease_token": token, "lease_until": func.now() + timedelta(seconds=lease_s)}
    session.execute(update(Image).where(col(Image.id).in_(held.ids)).values(**lease))
    return held


def queue_damaged(session: Session, version: IndexVersion, shop_id: int, image_ids: Collection[int]) -> int:
    """Have photos embedded again of which PostgreSQL has no usable vector; returns how many."""
    if not lock_not_deleting(session, [shop_id]):
        return 0
    locked = _lock(session, shop_id, image_ids, [ImageStatus.EMBEDDED])
    truths = index_truth.rows(session, version, shop_id, locked)
    damaged = [one.image_id for one in truths if one.vector is None]
    of_model = col(Embedding.model_key) == version.model_key
    # An unusable vector would be taken again instead of a new one.
    session.execute(delete(Embedding).where(col(Embedding.image_id).in_(damaged), of_model))
    values = {"status": ImageStatus.PENDING, "attempts": 0, "error": None, "updated_at": func.now()}
    _change(session, damaged, **values)
    return len(damaged)


def _lock(
    session: Session, shop_id: int, image_ids: Collection[int], statuses: list[ImageStatus]
) -> list[int]:
    query = (
        select(col(Image.id))
        .where(col(Image.shop_id) == shop_id, col(Image.id).in_(image_ids))
        .where(col(Image.status).in_(statuses), lease_is_free())
        .order_by(col(Image.id))
        .with_for_update(key_share=True, skip_locked=True)
    )
    return [image_id for image_id in session.scalars(query) if image_id is not None]


def _change(session: Session, image_ids: Collection[int], **values: object) -> None:
    if image_ids:
        session.execute(update(Image).where(col(Image.id).in_(image_ids)).values(**values))
