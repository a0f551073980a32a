"""All that a shop has, in pages."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from models.event import Event
from models.image import Embedding, Image
from models.job import Job
from models.mail import Mail
from models.shop import ApiKey
from models.taxonomy import AgeGroup, Category, Style

Owned = TypeVar("Owned", ApiKey, Mail, Job, Event)
Term = TypeVar("Term", Category, Style, AgeGroup)
REFERENCES = {Category: "category_id", Style: "style_id", AgeGroup: "age_group_id"}


def bounds(session: Session, shop_id: int) -> tuple[int, datetime]:
    """The newest photo's id, and the time: what comes later is not part of an export that begins now."""
    newest = session.scalar(select(func.max(Image.id)).where(col(Image.shop_id) == shop_id))
    return newest or 0, session.execute(select(func.now())).scalar_one()


def owned(session: Session, table: type[Owned], shop_id: int, after_id: int, limit: int) -> list[Owned]:
    """Up to ``limit`` rows of the shop, oldest first, with ids above ``after_id``."""
    query = select(table).where(col(table.shop_id) == shop_id, col(table.id) > after_id)
    return list(session.scalars(query.order_by(col(table.id)).limit(limit)))


def used_terms(session: Session, table: type[Term], shop_id: int) -> list[Term]:
    """The terms of one vocabulary that photos of the shop name."""
    used = select(getattr(Image, REFERENCES[table])).where(col(Image.shop_id) == shop_id)
    return list(session.scalars(select(table).where(col(table.id).in_(used)).order_by(col(table.id))))


def vectors(session: Session, image_ids: Collection[int]) -> dict[int, list[Embedding]]:
    """Vectors of the photos as they are now, of every model, by photo."""
    query = select(Embedding).join(Image, col(Image.id) == Embedding.image_id)
    query = query.where(col(Image.id).in_(image_ids), col(Image.photo_sha256) == Embedding.photo_sha256)
    found: dict[int, list[Embedding]] = {image_id: [] for image_id in image_ids}
    for row in session.scalars(query.order_by(col(Embedding.model_key))):
        found[row.image_id].append(row)
    return found
