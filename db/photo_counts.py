"""How many photos a shop has while others upload to it."""

from __future__ import annotations

from sqlalchemy import Integer, func, literal_column, select, text
from sqlalchemy.orm import Session
from sqlmodel import col

from models.image import Image, ImageStatus

LOCKS = 4_811_003


def living(session: Session, shop_id: int) -> int:
    """The shop's photos, without those that are being deleted. The index ``uq_image_shop_sku`` holds them."""
    query = select(func.count()).select_from(Image).where(col(Image.shop_id) == shop_id)
    return session.scalars(query.where(col(Image.status) != ImageStatus.DELETING)).one()


def living_alone(session: Session, shop_id: int) -> int:
    """The same with this transaction's own; who else asks for the shop waits until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(LOCKS, shop_id)))
    return living(session, shop_id)


def newest_id(session: Session) -> int:
    """The last id that a photo of any shop was given, transactions under way included."""
    query = select(literal_column("last_value", Integer)).select_from(text("image_id_seq"))
    return session.scalars(query).one()
