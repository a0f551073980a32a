"""What one collection of the search index should hold, as PostgreSQL knows it, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session
from sqlmodel import col

from db.embeddings import LITTLE_ENDIAN_FLOAT32
from models.image import Embedding, Image, ImageStatus, IndexVersion
from models.search import PhotoTerms
from models.shop import Shop, ShopStatus


@dataclass(frozen=True)
class Truth:
    """One photo. ``vector``: (d,) as the index should have it; None where there is no usable one.

    ``settled``: it is embedded, nobody works on it and nothing of it is behind, so that the index should have
    exactly this. While ``stamp`` stays the same, nobody has worked on it.
    """

    image_id: int
    status: ImageStatus
    settled: bool
    stamp: tuple[int, int, str]
    photo_sha256: str
    terms: PhotoTerms
    vector: NDArray[np.float32] | None


def page(session: Session, version: IndexVersion, shop_id: int, after_id: int, limit: int) -> list[Truth]:
    """The shop's next photos after that id, in the order of their ids."""
    query = _query(version, shop_id).where(col(Image.id) > after_id).order_by(col(Image.id)).limit(limit)
    return [_truth(row, version.dimension) for row in session.execute(query)]


def rows(session: Session, version: IndexVersion, shop_id: int, image_ids: Collection[int]) -> list[Truth]:
    """Those of the photos that the shop has."""
    query = _query(version, shop_id).where(col(Image.id).in_(image_ids)).order_by(col(Image.id))
    return [_truth(row, version.dimension) for row in session.execute(query)] if image_ids else []


def strays(session: Session, shop_id: int, image_ids: Sequence[int]) -> set[int]:
    """Those ids that the shop's collection should not have: no photo of the shop, or one that failed.

    Photos that wait, that are embedded or deleted at this moment are left to those who do that.
    """
    failed = and_(col(Image.status) == ImageStatus.FAILED, lease_is_free())
    own = select(col(Image.id)).where(col(Image.shop_id) == shop_id, col(Image.id).in_(image_ids), ~failed)
    return set(image_ids) - set(session.scalars(own)) if image_ids else set()


def shops(session: Session) -> list[tuple[int, str, int]]:
    """(id, e-mail address, photos) of all shops that are not being deleted, in the order of their ids."""
    photos = select(col(Image.shop_id), func.count().label("photos")).group_by(col(Image.shop_id)).subquery()
    query = (
        select(col(Shop.id), col(Shop.email), func.coalesce(photos.c.photos, 0).label("photos"))
        .outerjoin(photos, photos.c.shop_id == col(Shop.id))
        .where(col(Shop.status) != ShopStatus.DELETING)
        .order_by(col(Shop.id))
    )
    return [(row.id, row.email, row.photos) for row in session.execute(query)]


def shop_ids(session: Session) -> set[int]:
    """All of them, those too that are being deleted."""
    return {shop_id for shop_id in session.scalars(select(col(Shop.id))) if shop_id is not None}


def lease_is_free() -> Any:
    return or_(col(Image.lease_until).is_(None), col(Image.lease_until) < func.now())


def _query(version: IndexVersion, shop_id: int) -> Any:
    settled = and_(
        col(Image.status) == ImageStatus.EMBEDDED,
        lease_is_free(),
        col(Image.metadata_revision) == col(Image.indexed_revision),
        func.coalesce(col(Image.item_weight) == col(Shop.text_weight), False),
    )
    indexed = func.coalesce(col(Embedding.item_vector), col(Embedding.vector))
    same_photo = col(Embedding.photo_sha256) == col(Image.photo_sha256)
    of_model = and_(col(Embedding.image_id) == col(Image.id), col(Embedding.model_key) == version.model_key)
    columns = (Image.id, Image.status, Image.photo_sha256, Image.metadata_revision, Image.vector_revision)
    terms = (Image.category_id, Image.style_id, Image.age_group_id)
    return (
        select(*columns, *terms, settled.label("settled"), case((same_photo, indexed)).label("vector"))  # type: ignore[call-overload]
        .join(Shop, col(Shop.id) == col(Image.shop_id))
        .outerjoin(Embedding, of_model)
        .where(col(Image.shop_id) == shop_id)
    )


def _truth(row: Any, dimension: int) -> Truth:
    return Truth(
        image_id=row.id,
        status=row.status,
        settled=row.settled,
        stamp=(row.metadata_revision, row.vector_revision, row.photo_sha256),
        photo_sha256=row.photo_sha256,
        terms=PhotoTerms(row.category_id, row.style_id, row.age_group_id),
        vector=_usable(row.vector, dimension),
    )


def _usable(kept: bytes | None, dimension: int) -> NDArray[np.float32] | None:
    if kept is None or len(kept) != dimension * LITTLE_ENDIAN_FLOAT32.itemsize:
        return None
    vector = np.frombuffer(kept, LITTLE_ENDIAN_FLOAT32).astype(np.float32)
    return vector if np.isfinite(vector).all() and vector.any() else None
