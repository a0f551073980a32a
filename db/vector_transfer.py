"""Vectors that leave the database in a file, and vectors that were computed elsewhere and come in one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db import embeddings
from db.embeddings import LITTLE_ENDIAN_FLOAT32
from db.open_shops import lock_not_deleting
from models.image import Embedding, Image, ImageStatus
from models.shop import Shop, ShopStatus

Array = NDArray[np.float32]


@dataclass(frozen=True)
class KeptVector:
    """One photo's vectors (d,); ``item`` is None where the index has the photo's own."""

    shop: str
    sku: str
    image_id: int
    photo_sha256: str
    vector: Array
    item: Array | None


class PhotoName(NamedTuple):
    """How a file names a photo: by id, or by its sku where that is None."""

    shop_id: int
    sku: str | None
    image_id: int | None


class KnownPhoto(NamedTuple):
    """A photo that the shop has."""

    image_id: int
    shop_id: int
    sku: str
    photo_sha256: str


def page(
    session: Session, model_key: str, shop_id: int | None, after_id: int, limit: int
) -> list[KeptVector]:
    """The next vectors after that photo's, of one shop or of all, in the order of the photos' ids.

    Left out are vectors of a photo that was replaced since, and what is being deleted.
    """
    kept = (col(Embedding.vector), col(Embedding.item_vector))
    query: Any = (
        select(col(Shop.email), col(Image.sku), col(Image.id), col(Image.photo_sha256), *kept)
        .join(Image, and_(col(Image.id) == Embedding.image_id, _same_photo()))
        .join(Shop, col(Shop.id) == Image.shop_id)
        .where(col(Embedding.model_key) == model_key, col(Embedding.image_id) > after_id)
        .where(col(Image.status) != ImageStatus.DELETING, col(Shop.status) != ShopStatus.DELETING)
        .order_by(col(Embedding.image_id))
        .limit(limit)
    )
    if shop_id is not None:
        query = query.where(col(Image.shop_id) == shop_id)
    return [
        KeptVector(
            shop=row.email,
            sku=row.sku,
            image_id=row.id,
            photo_sha256=row.photo_sha256,
            vector=_array(row.vector),
            item=None if row.item_vector is None else _array(row.item_vector),
        )
        for row in session.execute(query)
    ]


def count(session: Session, model_key: str, shop_id: int | None) -> int:
    """How many vectors there are of that model."""
    query = select(func.count()).select_from(Embedding).where(col(Embedding.model_key) == model_key)
    if shop_id is not None:
        query = query.join(Image, col(Image.id) == Embedding.image_id).where(col(Image.shop_id) == shop_id)
    return session.scalar(query) or 0


def find(session: Session, names: Collection[PhotoName]) -> dict[PhotoName, KnownPhoto]:
    """The photos that are meant; without those that do not exist, are another shop's or are being deleted."""
    if not names:
        return {}
    ids = [name.image_id for name in names if name.image_id is not None]
    skus = [name.sku for name in names if name.image_id is None]
    query: Any = (
        select(col(Image.id), col(Image.shop_id), col(Image.sku), col(Image.photo_sha256))
        .where(col(Image.shop_id).in_({name.shop_id for name in names}))
        .where(or_(col(Image.id).in_(ids), col(Image.sku).in_(skus)))
        .where(col(Image.status) != ImageStatus.DELETING)
    )
    rows = [KnownPhoto(*row) for row in session.execute(query)]
    by_id = {(one.shop_id, one.image_id): one for one in rows}
    by_sku = {(one.shop_id, one.sku): one for one in rows}
    found = {
        name: by_sku.get((name.shop_id, name.sku or ""))
        if name.image_id is None
        else by_id.get((name.shop_id, name.image_id))
        for name in names
    }
    return {name: photo for name, photo in found.items() if photo is not None}


def store(session: Session, model_key: str, rows: Sequence[tuple[KnownPhoto, Array]], *, live: bool) -> int:
    """Keep the vectors; returns how many are new.

    ``live``: photos that get another one are indexed anew, from what is kept, by whoever embeds photos.
    Left out: photos that were replaced or deleted since they were found, and those of shops being deleted.
    """
    shops = lock_not_deleting(session, {photo.shop_id for photo, _ in rows})
    wanted = {photo.image_id: (photo, vector) for photo, vector in rows if photo.shop_id in shops}
    locked: Any = (
        select(col(Image.id), col(Image.photo_sha256), col(Embedding.vector), col(Embedding.photo_sha256))
        .outerjoin(
            Embedding, and_(col(Embedding.image_id) == Image.id, col(Embedding.model_key) == model_key)
        )
        .where(col(Image.id).in_(wanted), col(Image.status) != ImageStatus.DELETING)
        .order_by(col(Image.id))
        .with_for_update(key_share=True, of=Image)
    )
    new: list[tuple[int, str, Array]] = []
    for image_id, sha256, kept, kept_sha256 in session.execute(locked):
        photo, vector = wanted[image_id]
        known = kept is not None and kept_sha256 == sha256 and np.array_equal(_array(kept), vector)
        if photo.photo_sha256 == sha256 and not known:
            new.append((image_id, sha256, vector))
    embeddings.save(session, model_key, new)
    if live and new:
        before = [ImageStatus.EMBEDDED, ImageStatus.FAILED]
        change = update(Image).where(
            col(Image.id).in_([one[0] for one in new]), col(Image.status).in_(before)
        )
        values: dict[str, Any] = {"status": ImageStatus.PENDING, "attempts": 0, "error": None}
        session.execute(change.values(**values, updated_at=func.now()))
    return len(new)


def _same_photo() -> Any:
    return col(Image.photo_sha256) == col(Embedding.photo_sha256)


def _array(kept: bytes) -> Array:
    return np.frombuffer(kept, LITTLE_ENDIAN_FLOAT32).astype(np.float32)
