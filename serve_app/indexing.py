"""The background work on photos: embed what is pending, remove what is deleted, describe anew what changed.

Every step may be repeated: embeddings are upserted, Chroma is upserted by image id, files are removed if
there. A crash between any two of them leaves a lease that expires, and the work is done again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from configs.serving import IndexerArgs
from db import embeddings, item_vectors, photo_warnings, score_floors, work
from db.media import MediaStore, image_prefix
from db.open_shops import not_deleting
from db.photo_tags import TermState
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from db.work import Claim, ClaimedPhoto
from models.errors import AppError, NotFound
from models.search import TextVector
from serve_app.item_vectors import reweighted, save_new, text_vectors
from serve_app.judge_photos import NEAREST, Judge, Judgement, PhotoWarning, Vocabulary
from serve_app.photos import ImageGeometry, prepare_photo
from serve_app.ports import BulkEmbedders, BulkImageEmbedder, BulkTextEmbedder, Pixels, Vector

logger = logging.getLogger("serve_app")


@dataclass(frozen=True)
class IndexParts:
    """What every kind of work needs; built once per process."""

    database: Database
    vectors: VectorStore
    version_id: int
    model_key: str
    args: IndexerArgs
    judge: Judge


@dataclass(frozen=True)
class IndexingParts(IndexParts):
    """What work on photos' files needs as well."""

    media: MediaStore
    geometry: ImageGeometry
    max_pixels: int


def embed_claim(parts: IndexingParts, embedders: BulkEmbedders, claim: Claim) -> int:
    """Embed the claimed photos and publish their vectors; the number that became ``embedded``.

    A photo that cannot be read fails with its reason. A part that does not answer puts the photos back
    without counting the attempt.
    """
    with _giving_back(parts, claim):
        photos = _renewed(parts, claim, claim.photos)
        states = parts.judge.states(photos)
        photos, texts = _with_texts(parts, embedders.text, claim, photos)
        photos, vocabularies = _with_vocabularies(parts, embedders.text, claim, photos, states)
        vectors = _vectors(parts, embedders.image, claim, photos)
        judged = parts.judge.judge(states, vocabularies, vectors)
        photos = [photo for photo in photos if photo.image_id in vectors]
        photos = parts.judge.fill(claim.token, photos, judged)
        return _publish(parts, claim, photos, vectors, texts, judged)
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


def update_metadata(parts: IndexParts, embedder: BulkTextEmbedder, claim: Claim) -> int:
    """Write the claimed photos' terms, and their vectors where text has or had a weight, into the index.

    Terms that are missing since ``auto_tag`` was asked for are filled in first.
    Returns the number of photos that it is right about then. They are found by prompts all the time. Chroma
    ignores ids that it does not have.
    """
    photos = _renewed(parts, claim, claim.photos)
    try:
        photos = _filled_in(parts, embedder, claim, photos)
        texts = _texts(parts, embedder, claim, photos)
        vectors = reweighted(parts.database, parts.model_key, photos, texts)
        for shop_id, own in _by_shop(photos).items():
            terms = {one.image_id: one.terms for one in own if one.image_id not in vectors}
            parts.vectors.update_metadata(parts.version_id, shop_id, terms)
            records = [_record(one, vectors[one.image_id].indexed) for one in own if one.image_id in vectors]
            parts.vectors.update(parts.version_id, shop_id, records)
    except AppError as error:
        logger.warning("%d photos are described anew later: %s", len(photos), error.message)
        ids, delay_s = [photo.image_id for photo in photos], parts.args.retry_delay_s
        with parts.database.transaction() as session:
            work.release_metadata(session, claim.token, ids, delay_s)
        return 0
    changed = {image_id for image_id, one in vectors.items() if one.changed}
    with parts.database.transaction() as session:
        held = work.finish_metadata(session, claim.token, photos, changed)
        new = {image_id: vectors[image_id].item for image_id in changed & held}
        item_vectors.save_items(session, parts.model_key, new)
        score_floors.note_change(
            session, parts.model_key, {one.shop_id for one in photos if one.image_id in new}
        )
    return len(held)


def _filled_in(
    parts: IndexParts, embedder: BulkTextEmbedder, claim: Claim, photos: list[ClaimedPhoto]
) -> list[ClaimedPhoto]:
    """The photos, their missing terms filled in by their stored vectors."""
    found = parts.judge.states(photos)
    states = {image_id: TermState(state.missing) for image_id, state in found.items() if state.missing}
    if not states:
        return photos
    vocabularies = parts.judge.vocabularies(embedder, states)
    vectors: dict[int, Vector] = {}
    with parts.database.transaction() as session:
        for shop_id, own in _by_shop([one for one in photos if one.image_id in states]).items():
            ids = [one.image_id for one in own]
            vectors |= embeddings.load(session, shop_id, parts.model_key, ids)
    return parts.judge.fill(claim.token, photos, parts.judge.judge(states, vocabularies, vectors))


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


def _with_texts(
    parts: IndexingParts, embedder: BulkTextEmbedder, claim: Claim, photos: list[ClaimedPhoto]
) -> tuple[list[ClaimedPhoto], dict[int, TextVector]]:
    """The photos that can go on, and the vectors of their texts where the shop gives text a weight.

    Before the photos are decoded: while the text tower is out, those that need it wait, and cost nothing.
    """
    weighted = [photo for photo in photos if photo.text_weight > 0]
    with _giving_back(parts, Claim(claim.token, weighted)):
        return photos, _texts(parts, embedder, claim, photos)
    return [photo for photo in photos if photo.text_weight == 0], {}


def _texts(
    parts: IndexParts, embedder: BulkTextEmbedder, claim: Claim, photos: Sequence[ClaimedPhoto]
) -> dict[int, TextVector]:
    def hold(session: Session) -> set[int]:
        return {photo.image_id for photo in _held(session, parts, claim, photos)}

    return text_vectors(parts.database, parts.model_key, embedder, photos, hold)


def _record(photo: ClaimedPhoto, vector: Vector) -> VectorRecord:
    return VectorRecord(photo.image_id, vector, photo.photo_sha256, photo.terms)


def _with_vocabularies(
    parts: IndexingParts,
    embedder: BulkTextEmbedder,
    claim: Claim,
    photos: list[ClaimedPhoto],
    states: Mapping[int, TermState],
) -> tuple[list[ClaimedPhoto], dict[str, Vocabulary]]:
    """The photos that can go on, and what they are judged by.

    Before the photos are decoded: while the text tower is out, those whose terms are to be filled in wait,
    and cost nothing; the others go on, their category unjudged.
    """
    tagged = [photo for photo in photos if states[photo.image_id].missing]
    with _giving_back(parts, Claim(claim.token, tagged)):
        return photos, parts.judge.vocabularies(embedder, states)
    return [photo for photo in photos if not states[photo.image_id].missing], {}


def _publish(
    parts: IndexingParts,
    claim: Claim,
    photos: list[ClaimedPhoto],
    vectors: dict[int, Vector],
    texts: dict[int, TextVector],
    judged: Mapping[int, Judgement],
) -> int:
    warnings = {photo.image_id: judged[photo.image_id].warnings for photo in photos}
    with parts.database.transaction() as session:
        photos = _held(session, parts, claim, photos)
        rows = [(photo.image_id, photo.photo_sha256, vectors[photo.image_id]) for photo in photos]
        embeddings.save(session, parts.model_key, rows)
        items = save_new(session, parts.model_key, photos, vectors, texts)
    try:
        for shop_id, own in _by_shop(photos).items():
            records = [_record(one, items.get(one.image_id, vectors[one.image_id])) for one in own]
            parts.vectors.upsert(parts.version_id, shop_id, records)
            for image_id, found in _near_duplicates(parts, own, records, vectors).items():
                warnings[image_id].append(found)
    except AppError:  # the write may have happened, in whole or in part
        _reconcile(parts, claim.token, photos)
        raise
    with parts.database.transaction() as session:
        done = work.finish_embedded(session, claim.token, photos)
        photo_warnings.save(session, done, warnings)
        changed = {photo.shop_id for photo in photos if photo.image_id in done}
        score_floors.note_change(session, parts.model_key, changed)
    _reconcile(parts, claim.token, [photo for photo in photos if photo.image_id not in done])
    return len(done)


def _near_duplicates(
    parts: IndexingParts,
    photos: list[ClaimedPhoto],
    records: list[VectorRecord],
    vectors: Mapping[int, Vector],
) -> dict[int, PhotoWarning]:
    """Of one shop's photos. Asked after they were written: of two at once, the later one meets the other."""
    shop_id = photos[0].shop_id
    queries = np.stack([record.vector for record in records])
    hits = parts.vectors.query(parts.version_id, shop_id, queries, NEAREST)
    return parts.judge.near_duplicates(shop_id, photos, vectors, hits)


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
