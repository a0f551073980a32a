"""The same work for the version of the index that is being built, beside the live one.

It never holds the live version up: where it fails, what it has of the photos is forgotten, and the fill finds
them. So a row of its model in the table ``embedding`` means that its collection has the photo as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db import embeddings, item_vectors, score_floors
from db.work import ClaimedPhoto
from models.errors import AppError
from models.search import TextVector
from serve_app.index_parts import IndexingParts, IndexParts, by_shop, record_of
from serve_app.item_vectors import item_vector, save_new
from serve_app.ports import BulkEmbedders, BulkTextEmbedder, Vector

logger = logging.getLogger("serve_app")


@dataclass(frozen=True)
class Beside:
    """The building version, for work on photos' files."""

    parts: IndexingParts
    embedders: BulkEmbedders


@dataclass(frozen=True)
class DescribedBeside:
    """The building version, for work on what the index has of photos."""

    parts: IndexParts
    texts: BulkTextEmbedder


@dataclass(frozen=True)
class Computed:
    """By image id: the vectors of the photos' pixels, and of the texts of those whose shop weights them."""

    parts: IndexParts
    vectors: dict[int, Vector]
    texts: dict[int, TextVector]

    def indexed(self, photo: ClaimedPhoto) -> Vector:
        """What the index is to have of the photo."""
        vector = self.vectors[photo.image_id]
        if photo.text_weight == 0:
            return vector
        return item_vector(vector, self.texts[photo.image_id].vector, photo.text_weight)


def left_out(count: int, error: AppError) -> None:
    """Say so in the log."""
    logger.warning("%d photos are left to the fill of the version being built: %s", count, error.message)


def upserted(made: Computed | None, photos: Sequence[ClaimedPhoto]) -> Computed | None:
    """``made``, written into the collections; None where that failed, or where it lacks one of the photos."""
    if made is None or not {photo.image_id for photo in photos} <= made.vectors.keys():
        return None
    try:
        for shop_id, own in by_shop(photos).items():
            records = [record_of(one, made.indexed(one)) for one in own]
            made.parts.vectors.upsert(made.parts.version_id, shop_id, records)
    except AppError as error:
        left_out(len(photos), error)
        return None
    return made


def note_embedded(
    session: Session, live: IndexParts, made: Computed | None, photos: Sequence[ClaimedPhoto]
) -> None:
    """In the transaction that published the photos: what was written of them, and that no other version
    has them as they are now."""
    written = {live.model_key} | ({made.parts.model_key} if made is not None else set())
    ids = [photo.image_id for photo in photos]
    if made is not None:
        rows = [(one.image_id, one.photo_sha256, made.vectors[one.image_id]) for one in photos]
        embeddings.save(session, made.parts.model_key, rows)
        save_new(session, made.parts.model_key, photos, made.vectors, made.texts)
    embeddings.leave_out(session, ids, written)
    item_vectors.forget(session, ids, written)
    note_change(session, written, {photo.shop_id for photo in photos})


def note_change(session: Session, model_keys: Collection[str], shop_ids: Collection[int]) -> None:
    """The score floors of several models, in one order of models as of shops: so no two workers deadlock."""
    for model_key in sorted(model_keys):
        score_floors.note_change(session, model_key, shop_ids)
