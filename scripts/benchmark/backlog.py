"""Photos that wait for their embedding, planted as rows: as if they had been uploaded, without the upload."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import insert, text
from sqlmodel import col, select

from db.session import Database, allow_long_statements
from models.image import Image, ImageStatus
from models.taxonomy import Category
from scripts.benchmark.photos import HEIGHT_PX, WIDTH_PX, PhotoFile

ROWS_PER_INSERT = 100_000
MANY = text(
    """
    INSERT INTO image (shop_id, sku, name, photo_key, photo_sha256, photo_bytes, photo_width_px,
                       photo_height_px, photo_type, status, attempts)
    SELECT :shop_id, :first || '-' || number, 'Garment ' || number, :photo_key,
           encode(sha256(convert_to(:first || '/' || number, 'UTF8')), 'hex'), :size_bytes, :width_px,
           :height_px, 'image/jpeg', 'pending', 0
      FROM generate_series(1, :count) AS number
    """
)


def plant(
    database: Database, shop_id: int, prefix: str, photos: Sequence[PhotoFile], *, judged: bool = True
) -> None:
    """One row for each photo, whose files lie at ``prefix`` in the media store; with categories in turn, or,
    where they are not to be judged by them, with none."""
    with database.transaction() as session:
        known = list(session.scalars(select(col(Category.id)).order_by(col(Category.id))))
        categories = known if judged else [None]
        session.execute(
            insert(Image),
            [
                {
                    "shop_id": shop_id,
                    "sku": f"SKU-{number}",
                    "name": f"Garment {number}",
                    "category_id": categories[number % len(categories)],
                    "photo_key": f"{prefix}/{photo.path.name}",
                    "photo_sha256": photo.sha256,
                    "photo_bytes": photo.size_bytes,
                    "photo_width_px": WIDTH_PX,
                    "photo_height_px": HEIGHT_PX,
                    "photo_type": "image/jpeg",
                    "status": ImageStatus.PENDING,
                }
                for number, photo in enumerate(photos)
            ],
        )


def plant_many(database: Database, shop_id: int, photo_key: str, photo: PhotoFile, count: int) -> None:
    """``count`` rows that share one file. Each has a sha256 of its own, so each has to be embedded."""
    for start in range(0, count, ROWS_PER_INSERT):
        values = {
            "shop_id": shop_id,
            "first": uuid4().hex,
            "photo_key": photo_key,
            "size_bytes": photo.size_bytes,
            "width_px": WIDTH_PX,
            "height_px": HEIGHT_PX,
            "count": min(ROWS_PER_INSERT, count - start),
        }
        with database.transaction() as session:
            allow_long_statements(session)
            session.execute(MANY, values)
