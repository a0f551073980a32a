"""The log of prompts."""

from __future__ import annotations

from sqlalchemy import insert, literal, select
from sqlalchemy.orm import Session
from sqlmodel import col

from db.open_shops import closed
from models.prompt import Prompt
from models.shop import Shop, ShopStatus


def record(session: Session, prompt: Prompt) -> None:
    """Add one answered request to the log. Raises NotAuthenticated where the shop is not active any more.

    One statement checks, locks (see ``db.open_shops``) and inserts: it is part of every recommendation.
    """
    values = prompt.model_dump(exclude={"created_at"})
    columns = [literal(value, Prompt.__table__.c[name].type) for name, value in values.items()]  # type: ignore[attr-defined]
    shop = select(*columns).where(col(Shop.id) == prompt.shop_id, col(Shop.status) == ShopStatus.ACTIVE)
    row = insert(Prompt).from_select(list(values), shop.with_for_update(read=True, of=Shop))
    if session.execute(row.returning(col(Prompt.id))).one_or_none() is None:
        raise closed()
