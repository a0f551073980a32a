"""The background work on photos: embed what is pending, remove what is deleted, describe anew what changed.

Every step may be repeated: embeddings are upserted, Chroma is upserted by image id, files are removed if
there. A crash between any two of them leaves a lease that expires, and the work is done again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from configs.serving import IndexerArgs
from db import embeddings, score_floors, work
from db.media import MediaStore, image_prefix
from db.open_shops import not_deleting
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from db.work import Claim, ClaimedPhoto
from models.errors import AppError, NotFound
from serve_app.photos import ImageGeometry, prepare_photo
from serve_app.ports import BulkEmbedders, BulkImageEmbedder, Pixels, Vector

logger = logging.getLogger("serve_app")


@dataclass(frozen=True)
class IndexParts:
    """What every kind of work needs; built once per process."""

    database: Database
    vectors: VectorStore
    version_id: int
    args: IndexerArgs


@dataclass(frozen=True)
class IndexingParts(IndexParts):
    """What work on photos' files needs as well."""

    media: MediaStore
    model_key: str
    geometry: ImageGeometry
    max_pixels: int


def embed_claim(parts: IndexingParts, embedders: BulkEmbedders, claim: Claim) -> int:
    """Embed the claimed photos and publish their vectors; the number that became ``embedded``.

    A photo that cannot be read fails with its reason. A part that does not answer puts the photos back
    without counting the attempt.
    """
    with _giving_back(parts, claim):
        photos = _renewed(parts, claim, claim.photos)
        vectors = _vectors(parts, embedders.image, claim, photos)
        return _publish(parts, claim, [photo for photo in photos if photo.image_id in vectors], vectors)
    return 0


def delete_claim(parts: IndexingParts, claim: Claim) -> int:
    """Remove the claimed photos' vectors, files and, last, rows; the number of rows removed."""
    with _giving_back(parts, claim):
        photos = _renewed(parts, claim, claim.photos)
        for shop_id, own in _by_shop(photos).items():
            parts.vectors.delete(parts.version_id, shop_id, [photo.image_id for photo in own])
            for photo in own:
                parts.media.delete_tree(image_prefix(shop_id, photo.image_id))
        with parts.database.transaction() as session:
            removed = work.finish_deleted(session, claim.token, [photo.image_id for photo in photos])
            if removed:
                score_floors.note_change(session, parts.model_key, {photo.shop_id for photo in photos})
            return removed
    return 0


def update_metadata(parts: IndexParts, claim: Claim) -> int:
    """Write the claimed photos' terms into the index; the number whose terms it has then.

    The photos are found by prompts all the time. Chroma ignores ids that it does not have.
    """
    photos = _renewed(parts, claim, claim.photos)
    try:
        for shop_id, own in _by_shop(photos).items():
            terms = {photo.image_id: photo.terms for photo in own}
            parts.vectors.update_metadata(parts.version_id, shop_id, terms)
    except AppError as error:
        logger.warning("the terms of %d photos are written later: %s", len(photos), error.message)
        ids, delay_s = [photo.image_id for photo in photos], parts.args.retry_delay_s
        with parts.database.transaction() as session:
            work.release_metadata(session, claim.token, ids, delay_s)
        return 0
    with parts.database.transaction() as session:
        return len(work.finish_metadata(session, claim.token, photos))


@contextmanager
def _giving_back(parts: IndexingParts, claim: Claim) -> Iterator[None]:
    """When a part of the service does not answer, the photos go back to the queue for a moment."""
    try:
        yield
    except AppError as error:
        logger.warning("%d photos go back to the queue: %s", len(claim.photos), error.message)
        delay_s, ids = parts.args.retry_delay_s, [photo.image_id for photo in claim.photos]
        with parts.database.transaction() as session:
            work.release(session, claim.token, ids, delay_s=delay_s, error=error.message, count_attempt=False)


def _renewed(parts: IndexParts, claim: Claim, photos: Sequence[ClaimedPhoto]) -> list[ClaimedPhoto]:
    """Those photos that are still ours, their lease prolonged: a task may have waited long for its turn."""
    with parts.database.transaction() as session:
        return _held(session, parts, claim, photos)


def _held(
    session: Session, parts: IndexParts, claim: Claim, photos: Sequence[ClaimedPhoto]
) -> list[ClaimedPhoto]:
    ids = [photo.image_id for photo in photos]
    held = work.renew(session, claim.token, ids, parts.args.lease_s)
    return [photo for photo in photos if photo.image_id in held]


def _vectors(
    parts: IndexingParts, embedder: BulkImageEmbedder, claim: Claim, photos: list[ClaimedPhoto]
) -> dict[int, Vector]:
    """The vector of each readable photo: from PostgreSQL where it is known, else from the model."""
    with parts.database.transaction() as session:
        vectors = embeddings.stored(session, photos, parts.model_key)
    unknown = [photo for photo in photos if photo.image_id not in vectors]
    readable, pixels = _prepare(parts, claim.token, unknown)
    step = parts.args.embed_batch
    for start in range(0, len(readable), step):
        batch = embedder.embed(np.stack(pixels[start : start + step]))
        for photo, vector in zip(readable[start : start + step], batch, strict=True):
            vectors[photo.image_id] = vector
        _renewed(parts, claim, photos)
    return vectors


def _prepare(
    parts: IndexingParts, token: str, photos: Sequence[ClaimedPhoto]
) -> tuple[list[ClaimedPhoto], list[Pixels]]:
    readable: list[ClaimedPhoto] = []
    pixels: list[Pixels] = []
    for photo in photos:
        try:
            data = parts.media.load(photo.photo_key)
            pixels.append(prepare_photo(data, parts.geometry, max_pixels=parts.max_pixels))
            readable.append(photo)
        except AppError as error:
            if error.status_code >= 500:
                raise
            reason = "The stored photo is gone." if isinstance(error, NotFound) else error.message
            with parts.database.transaction() as session:
                work.finish_failed(session, token, photo.image_id, reason)
    return readable, pixels


def _publish(
    parts: IndexingParts, claim: Claim, photos: list[ClaimedPhoto], vectors: dict[int, Vector]
) -> int:
    with parts.database.transaction() as session:
        photos = _held(session, parts, claim, photos)
        rows = [(photo.image_id, photo.photo_sha256, vectors[photo.image_id]) for photo in photos]
        embeddings.save(session, parts.model_key, rows)
    try:
        for shop_id, own in _by_shop(photos).items():
            records = [
                VectorRecord(one.image_id, vectors[one.image_id], one.photo_sha256, one.terms) for one in own
            ]
            parts.vectors.upsert(parts.version_id, shop_id, records)
    except AppError:  # the write may have happened, in whole or in part
        _reconcile(parts, claim.token, photos)
        raise
    with parts.database.transaction() as session:
        done = work.finish_embedded(session, claim.token, photos)
        changed = {photo.shop_id for photo in photos if photo.image_id in done}
        score_floors.note_change(session, parts.model_key, changed)
    _reconcile(parts, claim.token, [photo for photo in photos if photo.image_id not in done])
    return len(done)


def _reconcile(parts: IndexingParts, token: str, photos: list[ClaimedPhoto]) -> None:
    """After a write without the lease: redo what lives (from its stored vector), remove what is gone."""
    if not photos:
        return
    with parts.database.transaction() as session:
        gone = set(work.touch_lost(session, [photo.image_id for photo in photos], token))
        shops = not_deleting(session, {photo.shop_id for photo in photos})
    for shop_id, own in _by_shop([photo for photo in photos if photo.image_id in gone]).items():
        if shop_id in shops:
            parts.vectors.delete(parts.version_id, shop_id, [photo.image_id for photo in own])
        else:  # its collections were dropped, and this write made one anew
            parts.vectors.drop(parts.version_id, shop_id)


def _by_shop(photos: Sequence[ClaimedPhoto]) -> dict[int, list[ClaimedPhoto]]:
    shops: dict[int, list[ClaimedPhoto]] = defaultdict(list)
    for photo in photos:
        shops[photo.shop_id].append(photo)
    return shops
