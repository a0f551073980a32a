"""Shops as staff see and change them."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from models.shop import Shop


def names(session: Session, shop_ids: Collection[int]) -> dict[int, str]:
    """The shops' names by their ids."""
    rows = session.execute(select(col(Shop.id), col(Shop.name)).where(col(Shop.id).in_(shop_ids)))
    return {shop_id: name for shop_id, name in rows if shop_id is not None}


def max_photos(session: Session, shop_id: int) -> int | None:
    """How many photos the shop may store; None: the configuration says."""
    return session.scalar(select(col(Shop.max_photos)).where(col(Shop.id) == shop_id))
