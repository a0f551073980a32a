"""Photos that a version of the index still lacks: looked up page by page, leased, and given back.

A photo is lacking while it is embedded and no vector of its present file is kept under the version's model,
or, where its shop gives text a weight, none of the item. The lease is that of ``db.work``: nobody deletes,
replaces or describes a photo anew while it is held, and the photo stays ``embedded``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import CursorResult, and_, func, or_, select, text, update
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from db import text_weights, work
from db.open_shops import lock_not_deleting
from db.work import Claim, ClaimedPhoto
from models.image import Embedding, Image, ImageStatus


class Place(NamedTuple):
    """Photos are walked through in this order, which is that of an index and keeps shops together."""

    shop_id: int
    image_id: int


START = Place(0, 0)


@dataclass(frozen=True)
class Page:
    """``image_ids`` are lacking, of ``read`` photos; ``last``: the place of the last one read."""

    image_ids: list[int]
    read: int
    last: Place


# Costs as much as there are photos read, whatever was filled before: never more than ``limit`` of each table.
PAGE = text(
    """
    WITH page AS MATERIALIZED (
        SELECT shop_id, id, photo_sha256 FROM image
         WHERE status = 'embedded' AND (shop_id, id) > (:shop_id, :image_id)
         ORDER BY shop_id, id LIMIT :limit)
    SELECT page.shop_id, page.id,
           vector.photo_sha256 IS DISTINCT FROM page.photo_sha256
           OR (shop.text_weight > 0 AND vector.item_vector IS NULL) AS lacking
      FROM page
      JOIN shop ON shop.id = page.shop_id
      LEFT JOIN LATERAL (
            SELECT photo_sha256, item_vector FROM embedding
             WHERE image_id = page.id AND model_key = :model_key) AS vector ON true
     ORDER BY page.shop_id, page.id
    """
)
FORGET_ITEMS = text(
    """
    UPDATE embedding SET item_vector = NULL
     WHERE model_key = :model_key AND item_vector IS NOT NULL
       AND image_id > :after AND image_id <= :until
    """
)
FORGET_VECTORS = text(
    "DELETE FROM embedding WHERE model_key = :model_key AND image_id > :after AND image_id <= :until"
)


def page(session: Session, model_key: str, after: Place, limit: int) -> Page:
    """The next ``limit`` embedded photos, and which of them are lacking; none were read at the end."""
    values = {"model_key": model_key, "limit": limit} | after._asdict()
    rows = session.execute(PAGE, values).all()
    last = Place(rows[-1].shop_id, rows[-1].id) if rows else after
    return Page([row.id for row in rows if row.lacking], len(rows), last)


def count_embedded(session: Session) -> int:
    """All photos that the index should have."""
    count = select(func.count()).select_from(Image).where(col(Image.status) == ImageStatus.EMBEDDED)
    return session.scalar(count) or 0


def claim(session: Session, model_key: str, image_ids: Sequence[int], lease_s: float) -> Claim:
    """Lease those of the photos that are still lacking and free, their shops not being deleted."""
    of_shops = select(col(Image.shop_id)).where(col(Image.id).in_(image_ids)).distinct()
    shops = lock_not_deleting(session, set(session.scalars(of_shops)))
    weights = text_weights.hold(session, shops)
    weighted = [shop_id for shop_id, weight in weights.items() if weight > 0]
    vector = aliased(Embedding)
    same = and_(col(vector.image_id) == Image.id, col(vector.model_key) == model_key)
    lacking = or_(
        col(vector.photo_sha256).is_distinct_from(col(Image.photo_sha256)),
        and_(col(Image.shop_id).in_(weighted), col(vector.item_vector).is_(None)),
    )
    found = select(col(Image.id)).outerjoin(vector, same).where(col(Image.id).in_(image_ids), lacking)
    wanted = found.where(col(Image.shop_id).in_(shops)).order_by(col(Image.id))
    free = [image_id for image_id in session.scalars(wanted) if image_id is not None] if shops else []
    return work.lease_embedded(session, free, lease_s)


def lock_unchanged(session: Session, token: str, photos: Collection[ClaimedPhoto]) -> list[ClaimedPhoto]:
    """Those that this token still holds and that were neither replaced nor deleted; locked."""
    query = (
        select(col(Image.id), col(Image.photo_sha256))
        .where(col(Image.id).in_([photo.image_id for photo in photos]), col(Image.lease_token) == token)
        .where(col(Image.status) == ImageStatus.EMBEDDED)
        .order_by(col(Image.id))
        .with_for_update(key_share=True)
    )
    now = {row.id: row.photo_sha256 for row in session.execute(query)} if photos else {}
    return [photo for photo in photos if now.get(photo.image_id) == photo.photo_sha256]


def renew_former(session: Session, model_key: str, image_ids: Collection[int]) -> None:
    """Raise the vectors' revision of photos that had one of the model before: caches may hold that one."""
    had = select(col(Embedding.image_id)).where(col(Embedding.model_key) == model_key)
    own = col(Image.id).in_(had.where(col(Embedding.image_id).in_(image_ids)))
    change = update(Image).where(own).values(vector_revision=col(Image.vector_revision) + 1)
    if image_ids:
        session.execute(change.execution_options(synchronize_session=False))


def fail_unreadable(session: Session, model_key: str, image_ids: Collection[int], reason: str) -> int:
    """Photos that still lack a vector, their file being unreadable, become ``failed``; returns how many."""
    vector = (
        select(col(Embedding.image_id))
        .where(col(Embedding.image_id) == Image.id, col(Embedding.model_key) == model_key)
        .where(col(Embedding.photo_sha256) == Image.photo_sha256)
    )
    change = (
        update(Image)
        .where(col(Image.id).in_(image_ids), col(Image.status) == ImageStatus.EMBEDDED, ~vector.exists())
        .values(status=ImageStatus.FAILED, error=reason, updated_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return _count(session.execute(change)) if image_ids else 0


def last_image_id(session: Session) -> int:
    """The highest id; 0 where there is none."""
    return session.scalar(select(func.max(Image.id))) or 0


def forget_items(session: Session, model_key: str, after: int, until: int) -> int:
    """Have the model's item vectors of these image ids, in (after, until], made anew; returns how many."""
    return _count(session.execute(FORGET_ITEMS, {"model_key": model_key, "after": after, "until": until}))


def forget_vectors(session: Session, model_key: str, after: int, until: int) -> int:
    """Delete the model's vectors of these image ids, in (after, until]; returns how many."""
    return _count(session.execute(FORGET_VECTORS, {"model_key": model_key, "after": after, "until": until}))


def _count(result: object) -> int:
    if not isinstance(result, CursorResult):
        raise TypeError("only statements that change rows count them")
    return result.rowcount
