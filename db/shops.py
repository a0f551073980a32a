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


def get_for_update(session: Session, shop_id: int) -> Shop | None:
    """The shop, locked against other changes until the transaction ends."""
    query = select(Shop).where(col(Shop.id) == shop_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()
