"""Figures of one shop: what it stores, and what its shoppers asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, Select, cast, func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from models.image import Embedding, Image, ImageStatus
from models.prompt import Prompt


@dataclass(frozen=True)
class Storage:
    """Of living photos. ``vector_bytes`` are those of the numbers, without the database's own overhead."""

    photo_bytes: int
    vectors: int
    vector_bytes: int


@dataclass(frozen=True)
class Latency:
    """Prompts of one span of time; the figures in milliseconds are None where there were none."""

    prompts: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


NOTHING = Latency(0, None, None, None)


def storage(session: Session, shop_id: int) -> Storage:
    own = (col(Image.shop_id) == shop_id, col(Image.status) != ImageStatus.DELETING)
    photo_bytes = session.scalar(select(func.sum(col(Image.photo_bytes))).where(*own))
    size = func.sum(func.octet_length(col(Embedding.vector)))
    query = select(func.count(), size).select_from(Embedding).join(Image, col(Image.id) == Embedding.image_id)
    vectors, vector_bytes = session.execute(query.where(*own)).one()
    return Storage(int(photo_bytes or 0), vectors, int(vector_bytes or 0))


def latency(session: Session, shop_id: int, since: datetime, until: datetime) -> Latency:
    """Of all prompts from ``since`` on and before ``until``."""
    return Latency(*session.execute(_within(_figures(), shop_id, since, until)).one())


def latency_by_day(session: Session, shop_id: int, since: datetime, until: datetime) -> dict[date, Latency]:
    """The same for each UTC day that had prompts."""
    day = cast(func.timezone("UTC", col(Prompt.created_at)), Date)
    query = _within(_figures().add_columns(day), shop_id, since, until).group_by(day)
    return {row[-1]: Latency(*row[:-1]) for row in session.execute(query)}


def _figures() -> Select[*tuple[Any, ...]]:
    duration = col(Prompt.duration_ms)
    half, most = (func.percentile_cont(part).within_group(duration) for part in (0.5, 0.95))
    return select(func.count(), func.avg(duration), half, most)


def _within(
    query: Select[*tuple[Any, ...]], shop_id: int, since: datetime, until: datetime
) -> Select[*tuple[Any, ...]]:
    created = col(Prompt.created_at)
    return query.where(col(Prompt.shop_id) == shop_id, created >= since, created < until)
