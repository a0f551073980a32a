"""Whether a shop may still get rows, files and vectors.

DELETE of a shop sets its status. Whatever writes for a shop locks the shop's row with ``FOR SHARE`` first and
keeps it until its commit: so a writer either commits before that change, or sees it. From the commit of the
change on nothing new of the shop can appear.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from sqlmodel import col

from models.errors import NotAuthenticated
from models.shop import Shop, ShopStatus


def lock_open(session: Session, shop_id: int) -> None:
    """Hold the shop open until the transaction ends. Raises NotAuthenticated where it is not active."""
    if session.scalar(_of([shop_id]).with_for_update(read=True)) is not ShopStatus.ACTIVE:
        raise closed()


def require_open(session: Session, shop_id: int) -> None:
    """The same for a reader, without a lock."""
    if session.scalar(_of([shop_id])) is not ShopStatus.ACTIVE:
        raise closed()


def closed() -> NotAuthenticated:
    return NotAuthenticated("The shop of this API key is not active.")


def lock_not_deleting(session: Session, shop_ids: Collection[int]) -> set[int]:
    """Those shops for which background work may begin, held so until the transaction ends.

    A shop whose row somebody changes at this moment is left out; its work is found at the next look.
    """
    query = select(col(Shop.id)).where(col(Shop.id).in_(shop_ids), col(Shop.status) != ShopStatus.DELETING)
    locked = query.with_for_update(read=True, skip_locked=True)
    return {shop_id for shop_id in session.scalars(locked) if shop_id is not None} if shop_ids else set()


def not_deleting(session: Session, shop_ids: Collection[int]) -> set[int]:
    """Those of the shops that exist and are not being deleted."""
    query = select(col(Shop.id)).where(col(Shop.id).in_(shop_ids), col(Shop.status) != ShopStatus.DELETING)
    return {shop_id for shop_id in session.scalars(query) if shop_id is not None} if shop_ids else set()


def _of(shop_ids: Collection[int]) -> Select[ShopStatus]:
    return select(col(Shop.status)).where(col(Shop.id).in_(shop_ids))
