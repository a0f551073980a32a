"""A shop with many photos, stored without files and without a model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import insert, text
from sqlmodel import col, select

from db import embeddings
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.image import Image, ImageStatus
from models.taxonomy import Category
from scripts.measurement.clustered import Clustered

ROWS_PER_INSERT = 2_000
COLOURS = ("red", "blue", "green", "black", "white", "pink", "grey", "brown", "beige", "yellow")
LIMITED = 20


@dataclass(frozen=True)
class Stock:
    """The shop's photos: ``ids`` (n,) by place in the vectors, and what each row says."""

    ids: np.ndarray[Any, np.dtype[np.int64]]
    rows: list[dict[str, Any]]


def store(
    database: Database, index: VectorStore, place: tuple[int, int], model_key: str, vectors: Clustered
) -> Stock:
    """Rows and vectors in PostgreSQL, vectors in Chroma. ``place``: index version and shop."""
    version_id, shop_id = place
    with database.transaction() as session:
        categories = list(session.scalars(select(col(Category.id)).order_by(col(Category.id))))
        rows = _rows(shop_id, vectors, [one for one in categories if one is not None])
        ids: list[int] = []
        for start in range(0, len(rows), ROWS_PER_INSERT):
            new = insert(Image).returning(col(Image.id), sort_by_parameter_order=True)
            ids += session.scalars(new, rows[start : start + ROWS_PER_INSERT]).all()  # type: ignore[arg-type]
    shas = [row["photo_sha256"] for row in rows]
    for start in range(0, len(ids), ROWS_PER_INSERT):
        part = range(start, min(start + ROWS_PER_INSERT, len(ids)))
        with database.transaction() as session:
            embeddings.save(session, model_key, [(ids[n], shas[n], vectors.photos[n]) for n in part])
    records = [VectorRecord(*one) for one in zip(ids, vectors.photos, shas, strict=True)]
    index.upsert(version_id, shop_id, records)
    with database.session_maker()() as session:  # what autovacuum does in time
        session.execute(text("VACUUM ANALYZE image"))
    return Stock(np.array(ids), rows)


def _rows(shop_id: int, vectors: Clustered, categories: list[int]) -> list[dict[str, Any]]:
    random = np.random.default_rng(1)
    limited = set(random.choice(len(vectors.photos), LIMITED, replace=False).tolist())
    return [_row(shop_id, n, vectors, categories, n in limited, random) for n in range(len(vectors.photos))]


def _row(
    shop_id: int,
    number: int,
    vectors: Clustered,
    categories: list[int],
    limited: bool,
    random: np.random.Generator,
) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "colour": COLOURS[random.integers(len(COLOURS))],
        "sizes": ["S", "M", "L"][: random.integers(1, 4)],
        "price": round(float(random.uniform(5, 205)), 2),
        "season": "summer" if random.random() < 0.75 else "winter",
        "material": "cotton",
    }
    return {
        "shop_id": shop_id,
        "sku": f"SKU-{number}",
        "product_id": f"P-{number // 3}",
        "name": f"Garment {number}",
        "description": "A garment that was never drawn, in soft cotton with long sleeves and a round neck. "
        * 2,
        "category_id": categories[int(vectors.clusters[number]) % len(categories)],
        "attributes": attributes | ({"edition": "limited"} if limited else {}),
        "photo_key": f"shops/{shop_id}/{number}",
        "photo_sha256": hashlib.sha256(f"{shop_id}/{number}".encode()).hexdigest(),
        "photo_bytes": 1,
        "photo_width_px": 1,
        "photo_height_px": 1,
        "photo_type": "image/jpeg",
        "status": ImageStatus.EMBEDDED,
        "embedded_at": datetime.now(UTC),
        "vector_revision": 1,
    }
