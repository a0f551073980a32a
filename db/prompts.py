"""The log of prompts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Tuple, insert, literal, select, tuple_
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


@dataclass(frozen=True)
class Place:
    """Where a page of the log begins: after this prompt. Ids tell apart what was logged at one moment."""

    created_at: datetime
    prompt_id: UUID


def get(session: Session, shop_id: int, prompt_id: UUID) -> Prompt | None:
    """One prompt of the shop."""
    query = select(Prompt).where(col(Prompt.shop_id) == shop_id, col(Prompt.id) == prompt_id)
    return session.scalars(query).one_or_none()


def newest(
    session: Session,
    shop_id: int,
    after: Place | None,
    span: tuple[datetime | None, datetime | None],
    limit: int,
) -> list[Prompt]:
    """Up to ``limit`` prompts, newest first: logged from ``span``'s begin on and before its end."""
    since, until = span
    query = select(Prompt).where(col(Prompt.shop_id) == shop_id)
    if since is not None:
        query = query.where(col(Prompt.created_at) >= since)
    if until is not None:
        query = query.where(col(Prompt.created_at) < until)
    if after is not None:
        query = query.where(_place() < tuple_(literal(after.created_at), literal(after.prompt_id)))
    query = query.order_by(col(Prompt.created_at).desc(), col(Prompt.id).desc())
    return list(session.scalars(query.limit(limit)))


def oldest(session: Session, shop_id: int, after: Place | None, until: datetime, limit: int) -> list[Prompt]:
    """Up to ``limit`` prompts, oldest first, logged at ``until`` at the latest."""
    query = select(Prompt).where(col(Prompt.shop_id) == shop_id, col(Prompt.created_at) <= until)
    if after is not None:
        query = query.where(_place() > tuple_(literal(after.created_at), literal(after.prompt_id)))
    query = query.order_by(col(Prompt.created_at), col(Prompt.id))
    return list(session.scalars(query.limit(limit)))


def _place() -> Tuple:
    return tuple_(col(Prompt.created_at), col(Prompt.id))
