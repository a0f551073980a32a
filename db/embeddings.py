"""The vectors that were computed, kept so that no photo is embedded twice by one model."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, Integer, delete, func, literal, null, select
from sqlalchemy.dialects.postgresql import BYTEA, distinct_on, insert
from sqlalchemy.orm import Session
from sqlmodel import col

from db.work import ClaimedPhoto
from models.image import Embedding, Image, ImageStatus, IndexState, IndexVersion
from models.search import PhotoVersions

LITTLE_ENDIAN_FLOAT32 = np.dtype("<f4")


def stored(
    session: Session, photos: Sequence[ClaimedPhoto], model_key: str
) -> dict[int, NDArray[np.float32]]:
    """Vectors that are known already, by image id: the photo's own, else that of the same photo (sha256) in
    the same shop. Of two such photos each keeps its own, where vectors were imported."""
    ids = {photo.image_id: photo.photo_sha256 for photo in photos}
    if not ids:
        return {}
    own = (
        select(col(Embedding.image_id), col(Embedding.photo_sha256), col(Embedding.vector))
        .where(col(Embedding.model_key) == model_key)
        .where(col(Embedding.image_id).in_(ids))
    )
    found = {
        image_id: _array(vector)
        for image_id, sha256, vector in session.execute(own)
        if sha256 == ids[image_id]
    }
    return found | _of_twins(session, [one for one in photos if one.image_id not in found], model_key)


def _of_twins(
    session: Session, photos: Sequence[ClaimedPhoto], model_key: str
) -> dict[int, NDArray[np.float32]]:
    if not photos:
        return {}
    query = (
        select(col(Image.shop_id), col(Embedding.photo_sha256), col(Embedding.vector))
        .join(Image, col(Image.id) == Embedding.image_id)
        .where(col(Embedding.model_key) == model_key)
        .where(col(Embedding.photo_sha256).in_({photo.photo_sha256 for photo in photos}))
        .where(col(Image.shop_id).in_({photo.shop_id for photo in photos}))
        .ext(distinct_on(col(Image.shop_id), col(Embedding.photo_sha256)))
    )
    known = {(shop_id, sha256): vector for shop_id, sha256, vector in session.execute(query)}
    return {
        photo.image_id: _array(known[photo.shop_id, photo.photo_sha256])
        for photo in photos
        if (photo.shop_id, photo.photo_sha256) in known
    }


def save(session: Session, model_key: str, rows: Sequence[tuple[int, str, NDArray[np.float32]]]) -> None:
    """Keep (image id, photo sha256, vector (d,)) rows; images that no longer exist are left out.

    The item's vector was made of the former photo's, and goes.
    """
    wanted = [image_id for image_id, _, _ in rows]
    locked = select(col(Image.id)).where(col(Image.id).in_(wanted)).order_by(col(Image.id))
    existing = set(session.scalars(locked.with_for_update(read=True, key_share=True)))
    values = [
        {
            "image_id": image_id,
            "model_key": model_key,
            "photo_sha256": sha256,
            "vector": np.asarray(vector, LITTLE_ENDIAN_FLOAT32).tobytes(),
        }
        for image_id, sha256, vector in rows
        if image_id in existing
    ]
    if not values:
        return
    statement = insert(Embedding).values(values)
    new = statement.excluded
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["image_id", "model_key"],
            set_={
                "photo_sha256": new.photo_sha256,
                "vector": new.vector,
                "item_vector": null(),
                "created_at": func.now(),
            },
        )
    )


def leave_out(session: Session, image_ids: Collection[int], written: Collection[str]) -> None:
    """Forget what the version being built has of these photos, unless its model is one of ``written``.

    Its collection does not have them as they are now: so they are missing there, and filled in.
    """
    built = select(col(IndexVersion.model_key)).where(col(IndexVersion.state) == IndexState.BUILDING)
    stale = delete(Embedding).where(col(Embedding.image_id).in_(image_ids))
    stale = stale.where(col(Embedding.model_key).in_(built), col(Embedding.model_key).not_in(written))
    session.execute(stale.execution_options(synchronize_session=False))


def indexed(
    session: Session, shop_id: int, model_key: str, image_ids: Sequence[int], dimension: int
) -> tuple[PhotoVersions, NDArray[np.float32]]:
    """Those of the photos that are embedded, with their vectors (n, d) as the index has them.

    One statement, so that each vector is the one of its revision, and one value, since rows of vectors take
    longer to read.
    """
    vector = func.coalesce(col(Embedding.item_vector), col(Embedding.vector))
    record = func.int4send(col(Image.id)).op("||")(func.int4send(col(Image.vector_revision))).op("||")(vector)
    query = (
        select(func.string_agg(record, literal(b"", BYTEA)))
        .select_from(Image)
        .join(Embedding, col(Embedding.image_id) == Image.id)
        .where(col(Image.shop_id) == shop_id, col(Image.status) == ImageStatus.EMBEDDED)
        .where(col(Embedding.model_key) == model_key, col(Image.photo_sha256) == Embedding.photo_sha256)
        .where(col(Image.id) == func.any(literal(list(image_ids), ARRAY(Integer))))
        .where(func.length(vector) == dimension * LITTLE_ENDIAN_FLOAT32.itemsize)
    )
    layout = np.dtype([("id", ">i4"), ("revision", ">i4"), ("vector", LITTLE_ENDIAN_FLOAT32, (dimension,))])
    found = np.frombuffer(session.scalar(query) or b"", layout)
    photos = PhotoVersions(found["id"].astype(np.int32), found["revision"].astype(np.int32))
    return photos, found["vector"].astype(np.float32)


def load(
    session: Session, shop_id: int, model_key: str, image_ids: Sequence[int] | None = None
) -> dict[int, NDArray[np.float32]]:
    """Vectors (d,) of the shop's photos by image id; of all its photos where ``image_ids`` is None.

    Left out are vectors of a photo that was replaced since.
    """
    query = (
        select(col(Embedding.image_id), col(Embedding.vector))
        .join(Image, col(Image.id) == Embedding.image_id)
        .where(col(Image.shop_id) == shop_id, col(Embedding.model_key) == model_key)
        .where(col(Image.photo_sha256) == col(Embedding.photo_sha256))
    )
    if image_ids is not None:
        query = query.where(col(Embedding.image_id).in_(image_ids))
    return {image_id: _array(vector) for image_id, vector in session.execute(query)}


def _array(vector: bytes) -> NDArray[np.float32]:
    return np.frombuffer(vector, LITTLE_ENDIAN_FLOAT32).astype(np.float32)
