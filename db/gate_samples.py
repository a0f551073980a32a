"""What two versions of the index are compared by: a sample of a catalogue, and what was asked of late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from models.image import Embedding, Image, ImageStatus
from models.prompt import Prompt
from models.shop import Shop, ShopStatus

LITTLE_ENDIAN_FLOAT32 = np.dtype("<f4")
LATEST_PROMPTS = 2_000  # of which the distinct ones are taken


@dataclass(frozen=True)
class GallerySample:
    """Photos that both models have embedded: their texts, and the vectors (n, d) of their pixels."""

    texts: list[str]
    before: NDArray[np.float32]
    after: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)


def shops(session: Session) -> list[int]:
    """Ids of the shops that have photos in the index, ascending."""
    indexed = exists().where(col(Image.shop_id) == col(Shop.id), _embedded())
    query = select(col(Shop.id)).where(indexed, col(Shop.status) != ShopStatus.DELETING)
    return [shop_id for shop_id in session.scalars(query.order_by(col(Shop.id))) if shop_id is not None]


def gallery(
    session: Session, shop_id: int, model_keys: tuple[str, str], limit: int, seed: int
) -> GallerySample:
    """At most ``limit`` photos of the shop, the same ones for the same ``seed``."""
    order = func.hashint4extended(col(Image.id), seed)
    chosen = select(col(Image.id)).where(col(Image.shop_id) == shop_id, _embedded())
    ids = chosen.order_by(order).limit(limit).subquery()
    before, after = aliased(Embedding), aliased(Embedding)
    query = (
        select(col(Image.name), col(Image.description), col(before.vector), col(after.vector))
        .join(ids, ids.c.id == Image.id)
        .join(before, (col(before.image_id) == Image.id) & (col(before.model_key) == model_keys[0]))
        .join(after, (col(after.image_id) == Image.id) & (col(after.model_key) == model_keys[1]))
        .where(col(before.photo_sha256) == col(Image.photo_sha256))
        .where(col(after.photo_sha256) == col(Image.photo_sha256))
        .order_by(order)
    )
    rows = session.execute(query).all()
    texts = [" ".join(f"{name} {description}".split()) for name, description, _, _ in rows]
    return GallerySample(texts, _matrix([row[2] for row in rows]), _matrix([row[3] for row in rows]))


def recent_prompts(session: Session, shop_id: int, limit: int) -> list[str]:
    """The newest distinct prompts that asked for nothing but words."""
    latest = (
        select(col(Prompt.prompt), col(Prompt.normalised), col(Prompt.created_at))
        .where(col(Prompt.shop_id) == shop_id, col(Prompt.prompt) != "")
        .where(col(Prompt.query) == {}, col(Prompt.filters) == {})
        .order_by(col(Prompt.created_at).desc())
        .limit(LATEST_PROMPTS)
        .subquery()
    )
    newest = func.max(latest.c.created_at)
    query = select(func.min(latest.c.prompt)).group_by(latest.c.normalised).order_by(newest.desc())
    return [prompt for prompt in session.scalars(query.limit(limit)) if prompt is not None]


def _embedded() -> ColumnElement[bool]:
    return col(Image.status) == ImageStatus.EMBEDDED


def _matrix(vectors: list[bytes]) -> NDArray[np.float32]:
    if not vectors:
        return np.empty((0, 0), np.float32)
    flat = np.frombuffer(b"".join(vectors), LITTLE_ENDIAN_FLOAT32)
    return flat.reshape(len(vectors), -1).astype(np.float32)
