"""What the table ``embedding`` keeps beside the vector of the pixels: the text's vector, and the item's."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, INTEGER, TEXT
from sqlalchemy.orm import Session
from sqlmodel import col

from db.embeddings import LITTLE_ENDIAN_FLOAT32
from models.image import Embedding
from models.search import TextVector

Array = NDArray[np.float32]


SAVE_TEXTS = text(
    """
    UPDATE embedding SET text_vector = new.vector, text_sha256 = new.sha256
      FROM unnest(:ids, :sha256s, :vectors) AS new(id, sha256, vector)
     WHERE embedding.image_id = new.id AND embedding.model_key = :model_key
    """
).bindparams(
    bindparam("ids", type_=ARRAY(INTEGER)),
    bindparam("sha256s", type_=ARRAY(TEXT)),
    bindparam("vectors", type_=ARRAY(BYTEA)),
)
SAVE_ITEMS = text(
    """
    UPDATE embedding SET item_vector = new.vector
      FROM unnest(:ids, :vectors) AS new(id, vector)
     WHERE embedding.image_id = new.id AND embedding.model_key = :model_key
    """
).bindparams(bindparam("ids", type_=ARRAY(INTEGER)), bindparam("vectors", type_=ARRAY(BYTEA)))


def texts(session: Session, model_key: str, image_ids: Collection[int]) -> dict[int, TextVector]:
    """The vectors of the photos' texts as they were when they were embedded, by image id."""
    query = (
        select(col(Embedding.image_id), col(Embedding.text_sha256), col(Embedding.text_vector))
        .where(col(Embedding.model_key) == model_key, col(Embedding.image_id).in_(image_ids))
        .where(col(Embedding.text_sha256).is_not(None), col(Embedding.text_vector).is_not(None))
    )
    return {
        image_id: TextVector(sha256, _array(vector))
        for image_id, sha256, vector in session.execute(query)
        if sha256 is not None and vector is not None
    }


def photos_and_items(
    session: Session, model_key: str, image_ids: Collection[int]
) -> dict[int, tuple[Array, Array | None]]:
    """The vectors (d,) of the pixels and of the items, by image id; None where the index has the former."""
    query = select(col(Embedding.image_id), col(Embedding.vector), col(Embedding.item_vector)).where(
        col(Embedding.model_key) == model_key, col(Embedding.image_id).in_(image_ids)
    )
    return {
        image_id: (_array(vector), None if item is None else _array(item))
        for image_id, vector, item in session.execute(query)
    }


def replaced(session: Session, model_key: str, image_ids: Collection[int]) -> dict[int, Array]:
    """The vectors (d,) of the pixels, by image id, of those photos that the index has by another."""
    query = select(col(Embedding.image_id), col(Embedding.vector)).where(
        col(Embedding.model_key) == model_key, col(Embedding.image_id).in_(image_ids)
    )
    mixed = query.where(col(Embedding.item_vector).is_not(None))
    return {image_id: _array(vector) for image_id, vector in session.execute(mixed)}


def save_texts(session: Session, model_key: str, texts: Mapping[int, TextVector]) -> None:
    """Keep the texts' vectors, by image id; photos without a vector are left out."""
    if texts:
        values = {
            "sha256s": [one.sha256 for one in texts.values()],
            "vectors": [_bytes(one.vector) for one in texts.values()],
        }
        session.execute(SAVE_TEXTS, {"model_key": model_key, "ids": list(texts), **values})


def save_items(session: Session, model_key: str, items: Mapping[int, Array | None]) -> None:
    """Keep the items' vectors, by image id, None where the index holds the photo's own."""
    if items:
        values = {
            "ids": list(items),
            "vectors": [None if one is None else _bytes(one) for one in items.values()],
        }
        session.execute(SAVE_ITEMS, {"model_key": model_key, **values})


def forget(session: Session, image_ids: Collection[int], written: Collection[str]) -> None:
    """The items' vectors of these photos under all models but ``written``: weight or text changed since."""
    stale = update(Embedding).where(col(Embedding.image_id).in_(image_ids))
    stale = stale.where(col(Embedding.model_key).not_in(written), col(Embedding.item_vector).is_not(None))
    session.execute(stale.values(item_vector=None).execution_options(synchronize_session=False))


def _bytes(vector: Array) -> bytes:
    return np.asarray(vector, LITTLE_ENDIAN_FLOAT32).tobytes()


def _array(vector: bytes) -> Array:
    return np.frombuffer(vector, LITTLE_ENDIAN_FLOAT32).astype(np.float32)
