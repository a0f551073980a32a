"""Fill a version of the index that is being built: give photos that are found already its model's vectors.

Every step may be repeated: vectors that are known are not computed again, Chroma is upserted by image id, and
a photo counts as filled only once its row in PostgreSQL is written, which comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from db import embeddings, late_writes, reindexing, score_floors
from db.late_writes import Late
from db.work import Claim, ClaimedPhoto
from models.errors import AppError, NotFound
from models.search import TextVector
from serve_app.index_parts import IndexingParts, by_shop, record_of, renewed, texts_of
from serve_app.item_vectors import item_vector, save_new
from serve_app.late_writes import shops_of, take_out
from serve_app.photos import prepare_photo
from serve_app.ports import BulkEmbedders, Vector

# Photos are held for no longer than so many take: who changes or deletes one of them waits for that.
PHOTOS_AT_ONCE = 64


@dataclass(frozen=True)
class Filled:
    """``photos``: how many got their vector. ``unreadable``: why others cannot have one, by image id."""

    photos: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)


def fill_photos(
    parts: IndexingParts,
    embedders: BulkEmbedders,
    image_ids: Sequence[int],
    photos_per_call: int | None = None,
) -> Filled:
    """Fill those of the photos that still lack a vector of the version in ``parts`` and are free.

    ``photos_per_call``: what the image tower takes at once; without it, what a call between deployments
    carries. Raises the AppError of a part that does not answer; what is not filled by then is lacking still.
    """
    filled, unreadable = 0, dict[int, str]()
    per_call = photos_per_call or parts.args.embed_batch
    at_once = max(PHOTOS_AT_ONCE // per_call, 1) * per_call
    for start in range(0, len(image_ids), at_once):
        some = image_ids[start : start + at_once]
        with parts.database.transaction() as session:
            claim = reindexing.claim(session, parts.model_key, some, parts.args.lease_s)
        result = _fill_claim(parts, embedders, claim, per_call)
        filled += result.photos
        unreadable |= result.unreadable
    return Filled(filled, unreadable)


def _fill_claim(parts: IndexingParts, embedders: BulkEmbedders, claim: Claim, per_call: int) -> Filled:
    if not claim.photos:
        return Filled()
    try:
        texts = texts_of(parts, embedders.text, claim, claim.photos)
        vectors, unreadable = _vectors(parts, embedders, claim, per_call)
        photos = [photo for photo in renewed(parts, claim, claim.photos) if photo.image_id in vectors]
        _write(parts, photos, vectors, texts)
        kept, late = _finish(parts, claim, photos, vectors, texts)
    except BaseException:  # the write may have happened, in whole or in part
        with suppress(AppError):
            take_out(parts.vectors, [parts.version_id], _given_back(parts, claim))
        raise
    take_out(parts.vectors, [parts.version_id], late)
    return Filled(kept, unreadable)


def _vectors(
    parts: IndexingParts, embedders: BulkEmbedders, claim: Claim, per_call: int
) -> tuple[dict[int, Vector], dict[int, str]]:
    """The vector of each readable photo, from PostgreSQL where it is known; and why others have none."""
    with parts.database.transaction() as session:
        vectors = embeddings.stored(session, claim.photos, parts.model_key)
    unknown = [photo for photo in claim.photos if photo.image_id not in vectors]
    readable: list[int] = []
    unreadable: dict[int, str] = {}
    pixels = parts.geometry.batch(len(unknown))
    for photo in unknown:
        try:
            data = parts.media.load(photo.photo_key)
            pixels[len(readable)] = prepare_photo(data, parts.geometry, max_pixels=parts.max_pixels)
            readable.append(photo.image_id)
        except AppError as error:
            if error.status_code >= 500:
                raise
            gone = isinstance(error, NotFound)
            unreadable[photo.image_id] = "The stored photo is gone." if gone else error.message
    for start in range(0, len(readable), per_call):
        batch = readable[start : start + per_call]
        vectors.update(zip(batch, embedders.image.embed(pixels[start : start + len(batch)]), strict=True))
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
) -> tuple[int, Late]:
    """Keep the vectors and give all photos of the claim back, in one transaction; how many were kept, and
    what was written too late."""
    with parts.database.transaction() as session:
        ours = reindexing.lock_unchanged(session, claim.token, photos)
        reindexing.renew_former(session, parts.model_key, [photo.image_id for photo in ours])
        rows = [(photo.image_id, photo.photo_sha256, vectors[photo.image_id]) for photo in ours]
        embeddings.save(session, parts.model_key, rows)
        save_new(session, parts.model_key, ours, vectors, texts)
        late = late_writes.give_back(session, claim.token, shops_of(claim.photos))
        score_floors.note_change(session, parts.model_key, {photo.shop_id for photo in ours})
    return len(ours), late


def _given_back(parts: IndexingParts, claim: Claim) -> Late:
    with parts.database.transaction() as session:
        photos = shops_of(claim.photos)
        return late_writes.give_back(session, claim.token, photos, parts.args.retry_delay_s)
