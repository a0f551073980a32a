"""The log of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Table, Tuple, cast, column, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session
from sqlmodel import SQLModel, col

from models.prompt import Prompt, normalised
from models.shop import ApiKey, Shop, ShopStatus

_TABLE: Table = SQLModel.metadata.tables["prompt"]


def add(session: Session, rows: Sequence[Prompt]) -> None:
    """Log answered requests, all with one statement. Those of shops that are not active are left out.

    The statement holds the shops open, in the order of their ids (see ``db.open_shops``). It may be repeated:
    a row that is there already stays as it is.
    """
    values = [row.model_dump(mode="json") | {"normalised": normalised(row.prompt)} for row in rows]
    fields = (column(one.name, one.type) for one in _TABLE.c)
    sent = func.jsonb_to_recordset(cast(values, JSONB)).table_valued(*fields)
    sent = sent.render_derived(name="sent", with_types=True)
    shops = select(col(Shop.id)).where(
        col(Shop.id).in_({row.shop_id for row in rows}), col(Shop.status) == ShopStatus.ACTIVE
    )
    held = shops.order_by(col(Shop.id)).with_for_update(read=True).cte("held")
    computed = {
        "api_key_id": select(col(ApiKey.id)).where(col(ApiKey.id) == sent.c.api_key_id).scalar_subquery(),
        "created_at": func.coalesce(sent.c.created_at, func.now()),
    }
    names = [one.name for one in _TABLE.c]
    found = select(*(computed.get(name, sent.c[name]) for name in names))
    found = found.join_from(sent, held, held.c.id == sent.c.shop_id)
    session.execute(insert(_TABLE).from_select(names, found).on_conflict_do_nothing())


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
