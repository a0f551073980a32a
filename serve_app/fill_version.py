"""Fill a version of the index that is being built: give photos that are found already its model's vectors.

Every step may be repeated: vectors that are known are not computed again, Chroma is upserted by image id, and
a photo counts as filled only once its row in PostgreSQL is written, which comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from db import embeddings, reindexing, score_floors, work
from db.work import Claim, ClaimedPhoto
from models.errors import AppError, NotFound
from models.search import TextVector
from serve_app.index_parts import IndexingParts, by_shop, record_of, renewed, texts_of
from serve_app.item_vectors import item_vector, save_new
from serve_app.photos import prepare_photo
from serve_app.ports import BulkEmbedders, Pixels, Vector

# Photos are held for no longer than so many take: who changes or deletes one of them waits for that.
PHOTOS_AT_ONCE = 64


@dataclass(frozen=True)
class Filled:
    """``photos``: how many got their vector. ``unreadable``: why others cannot have one, by image id."""

    photos: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)


def fill_photos(parts: IndexingParts, embedders: BulkEmbedders, image_ids: Sequence[int]) -> Filled:
    """Fill those of the photos that still lack a vector of the version in ``parts`` and are free.

    Raises the AppError of a part that does not answer; what is not filled by then is lacking still.
    """
    filled, unreadable = 0, dict[int, str]()
    for start in range(0, len(image_ids), PHOTOS_AT_ONCE):
        some = image_ids[start : start + PHOTOS_AT_ONCE]
        with parts.database.transaction() as session:
            claim = reindexing.claim(session, parts.model_key, some, parts.args.lease_s)
        result = _fill_claim(parts, embedders, claim)
        filled += result.photos
        unreadable |= result.unreadable
    return Filled(filled, unreadable)


def _fill_claim(parts: IndexingParts, embedders: BulkEmbedders, claim: Claim) -> Filled:
    if not claim.photos:
        return Filled()
    try:
        texts = texts_of(parts, embedders.text, claim, claim.photos)
        vectors, unreadable = _vectors(parts, embedders, claim)
        photos = [photo for photo in renewed(parts, claim, claim.photos) if photo.image_id in vectors]
        _write(parts, photos, vectors, texts)
        return Filled(_finish(parts, claim, photos, vectors, texts), unreadable)
    except BaseException:
        with suppress(AppError), parts.database.transaction() as session:
            work.release_metadata(session, claim.token, _ids(claim.photos), parts.args.retry_delay_s)
        raise


def _vectors(
    parts: IndexingParts, embedders: BulkEmbedders, claim: Claim
) -> tuple[dict[int, Vector], dict[int, str]]:
    """The vector of each readable photo, from PostgreSQL where it is known; and why others have none."""
    with parts.database.transaction() as session:
        vectors = embeddings.stored(session, claim.photos, parts.model_key)
    pixels: dict[int, Pixels] = {}
    unreadable: dict[int, str] = {}
    for photo in claim.photos:
        if photo.image_id in vectors:
            continue
        try:
            data = parts.media.load(photo.photo_key)
            pixels[photo.image_id] = prepare_photo(data, parts.geometry, max_pixels=parts.max_pixels)
        except AppError as error:
            if error.status_code >= 500:
                raise
            gone = isinstance(error, NotFound)
            unreadable[photo.image_id] = "The stored photo is gone." if gone else error.message
    step, ids = parts.args.embed_batch, list(pixels)
    for batch in (ids[start : start + step] for start in range(0, len(ids), step)):
        found = embedders.image.embed(np.stack([pixels[image_id] for image_id in batch]))
        vectors.update(zip(batch, found, strict=True))
    return vectors, unreadable


def _write(
    parts: IndexingParts,
    photos: Sequence[ClaimedPhoto],
    vectors: Mapping[int, Vector],
    texts: Mapping[int, TextVector],
) -> None:
    for shop_id, own in by_shop(photos).items():
        records = []
        for one in own:
            pixels, weight = vectors[one.image_id], one.text_weight
            text = texts[one.image_id].vector if weight > 0 else pixels
            records.append(record_of(one, item_vector(pixels, text, weight)))
        parts.vectors.upsert(parts.version_id, shop_id, records)


def _finish(
    parts: IndexingParts,
    claim: Claim,
    photos: Sequence[ClaimedPhoto],
    vectors: Mapping[int, Vector],
    texts: Mapping[int, TextVector],
) -> int:
    """Keep the vectors and give all photos of the claim back, in one transaction; how many were kept.

    A photo whose lease was lost is written anew by the worker of terms and texts.
    """
    with parts.database.transaction() as session:
        ours = reindexing.lock_unchanged(session, claim.token, photos)
        reindexing.renew_former(session, parts.model_key, _ids(ours))
        rows = [(photo.image_id, photo.photo_sha256, vectors[photo.image_id]) for photo in ours]
        embeddings.save(session, parts.model_key, rows)
        save_new(session, parts.model_key, ours, vectors, texts)
        work.release_metadata(session, claim.token, _ids(claim.photos), 0)
        score_floors.note_change(session, parts.model_key, {photo.shop_id for photo in ours})
    return len(ours)


def _ids(photos: Sequence[ClaimedPhoto]) -> list[int]:
    return [photo.image_id for photo in photos]
