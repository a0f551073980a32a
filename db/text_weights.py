"""The share of text in the vectors of a shop's items, and the photos that still have a former share.

A change is one row, however many photos there are: it sets the shop's ``text_weight`` and marks it
``reindexing``. Which photos are behind follows from the weight that each one's vector was made with. The mark
goes when none is; it is only there so that other shops need not be looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, or_, select, union_all, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db.open_shops import closed
from db.turns import MAX_SHOPS
from models.image import Image, ImageStatus
from models.shop import Shop, ShopStatus


def change(session: Session, shop_id: int, weight: float) -> Shop:
    """Set the weight; the photos follow in the background. Raises NotAuthenticated as ``lock_open`` does."""
    query = select(Shop).where(col(Shop.id) == shop_id).with_for_update(key_share=True)
    shop = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if shop is None or shop.status is not ShopStatus.ACTIVE:
        raise closed()
    if shop.text_weight != weight:
        shop.text_weight, shop.reindexing = weight, True
    return shop


def hold(session: Session, shop_ids: Collection[int]) -> dict[int, float]:
    """The shops' weights, which do not change before the transaction ends. Locked before their photos are."""
    query = select(col(Shop.id), col(Shop.text_weight)).where(col(Shop.id).in_(shop_ids))
    rows = session.execute(query.order_by(col(Shop.id)).with_for_update(read=True)) if shop_ids else ()
    return {row.id: row.text_weight for row in rows}


def count_behind(session: Session, shop: Shop) -> int:
    """How many of its photos are found by a vector of a former weight. No query where none can be."""
    if not shop.reindexing:
        return 0
    behind = or_(*_other_than(shop.text_weight))
    return session.scalar(_embedded(shop.id, func.count()).where(behind)) or 0


def changing_shops(session: Session) -> list[int]:
    """At most ``MAX_SHOPS`` of them, in any order."""
    query = select(col(Shop.id)).where(col(Shop.reindexing)).order_by(func.random()).limit(MAX_SHOPS)
    return [shop_id for shop_id in session.scalars(query) if shop_id is not None]


def lock_behind(session: Session, shop_id: int, weight: float, limit: int) -> list[int]:
    """Lock up to ``limit`` free photos whose vector has another weight than this; returns their ids."""
    free = or_(col(Image.lease_until).is_(None), col(Image.lease_until) < func.now())
    candidates = session.scalars(_first_behind(shop_id, weight, limit, free)).all()[:limit]
    still = or_(*_other_than(weight))
    query = _embedded(shop_id, col(Image.id)).where(col(Image.id).in_(candidates), free, still)
    locked = query.order_by(col(Image.id)).with_for_update(key_share=True, skip_locked=True)
    return list(session.scalars(locked)) if candidates else []


def settle(session: Session, shop_id: int) -> None:
    """Take the mark off a shop that has no photo left behind.

    Whoever changes the weight or finishes a photo locks the shop. Where one of them is at work this waits for
    nobody: the mark goes at a later look.
    """
    marked = select(col(Shop.text_weight)).where(col(Shop.id) == shop_id, col(Shop.reindexing))
    weight = session.scalar(marked.with_for_update(key_share=True, skip_locked=True))
    if weight is None:
        return
    # A statement of its own: it sees all that was committed before the lock was given.
    if session.scalar(_first_behind(shop_id, weight, 1)) is None:
        session.execute(update(Shop).where(col(Shop.id) == shop_id).values(reindexing=False))


def _first_behind(shop_id: int, weight: float, limit: int, *conditions: Any) -> Any:
    """Ids, up to ``limit`` of each kind. The photos that have the weight are not read."""
    own = _embedded(shop_id, col(Image.id)).where(*conditions)
    return union_all(*(own.where(one).limit(limit).subquery().select() for one in _other_than(weight)))


def _other_than(weight: float) -> list[Any]:
    """The ranges of the index on weights beside this one."""
    former = col(Image.item_weight)
    return [former.is_(None), former < weight, former > weight]


def _embedded(shop_id: int | None, what: Any) -> Any:
    return select(what).where(col(Image.shop_id) == shop_id, col(Image.status) == ImageStatus.EMBEDDED)
