"""What looks wrong in a shop's catalogue: ``image.warnings``, and which of them still hold.

A warning is kept as it was found. What it is about may change later (the other photo goes, or is said to
show the same product; the category is corrected), so every reader asks here which of them hold now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Boolean, ColumnElement, bindparam, literal_column, select, text, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db.embeddings import LITTLE_ENDIAN_FLOAT32
from models.image import Embedding, Image, ImageStatus

# Beside each warning, what it is about as it is now; ``image`` is the photo that has it.
WITH_SUBJECTS = """
    jsonb_array_elements(image.warnings) AS warning
    LEFT JOIN image AS other ON other.id = (warning ->> 'ImageID')::int
         AND other.shop_id = image.shop_id AND other.status <> 'deleting'
         AND other.photo_sha256 = warning ->> 'photo_sha256'
         AND (other.product_id IS NULL OR other.product_id IS DISTINCT FROM image.product_id)
    LEFT JOIN category AS stated
           ON stated.id = (warning ->> 'Category')::int AND stated.id = image.category_id
    LEFT JOIN category AS better ON better.id = (warning ->> 'suggested')::int
"""
HOLDS = "(other.id IS NOT NULL OR stated.id IS NOT NULL AND better.id IS NOT NULL)"
CURRENT = text(
    f"""
    SELECT image.id, warning || jsonb_build_object(
             'sku', other.sku, 'stated_name', stated.name, 'suggested_name', better.name)
      FROM image CROSS JOIN {WITH_SUBJECTS}
     WHERE {HOLDS} AND image.id IN :ids
     ORDER BY image.id, warning ->> 'code' DESC
    """
).bindparams(bindparam("ids", expanding=True))
ANY = f"(image.warnings <> '[]'::jsonb AND EXISTS (SELECT 1 FROM {WITH_SUBJECTS} WHERE {HOLDS}))"


class Twin(NamedTuple):
    """A photo that may look like another. ``vector``: (d,) float32 of its pixels, unit length."""

    product_id: str | None
    photo_sha256: str
    vector: NDArray[np.float32]


def save(session: Session, image_ids: Collection[int], found: Mapping[int, list[dict[str, Any]]]) -> None:
    """Replace the warnings of these photos, which the caller has locked; those not in ``found`` have none."""
    clean = [image_id for image_id in image_ids if not found.get(image_id)]
    change = update(Image).where(col(Image.id).in_(clean), any_kept())
    session.execute(change.values(warnings=[]).execution_options(synchronize_session=False))
    for image_id in set(image_ids) - set(clean):
        change = update(Image).where(col(Image.id) == image_id).values(warnings=found[image_id])
        session.execute(change.execution_options(synchronize_session=False))


def current(session: Session, images: Sequence[Image]) -> dict[int, list[dict[str, Any]]]:
    """By id, the warnings that hold, with the names of what they are about."""
    ids = [image.id for image in images if image.warnings]
    found: dict[int, list[dict[str, Any]]] = {}
    for image_id, warning in session.execute(CURRENT, {"ids": ids}) if ids else ():
        found.setdefault(image_id, []).append(warning)
    return found


def any_kept() -> ColumnElement[bool]:
    """Whether a photo has warnings at all; has an index."""
    return literal_column("image.warnings <> '[]'::jsonb", Boolean)


def any_current() -> ColumnElement[bool]:
    """Whether a photo has warnings that hold; has an index."""
    return literal_column(ANY, Boolean)


def twins(session: Session, shop_id: int, model_key: str, image_ids: Collection[int]) -> dict[int, Twin]:
    """Those of the photos that live, whether the index has them or not yet."""
    query = (
        select(col(Image.id), col(Image.product_id), col(Image.photo_sha256), col(Embedding.vector))
        .join(Embedding, col(Embedding.image_id) == Image.id)
        .where(col(Image.shop_id) == shop_id, col(Image.status) != ImageStatus.DELETING)
        .where(col(Embedding.model_key) == model_key, col(Image.photo_sha256) == Embedding.photo_sha256)
        .where(col(Image.id).in_(image_ids))
    )
    return {
        row[0]: Twin(row[1], row[2], np.frombuffer(row[3], LITTLE_ENDIAN_FLOAT32))
        for row in session.execute(query)
        if row[0] is not None
    }
