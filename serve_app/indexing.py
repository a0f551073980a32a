"""The background work on photos: embed what is pending, remove what is deleted.

Every step may be repeated: embeddings are upserted, Chroma is upserted by image id, files are removed if
there. A crash between any two of them leaves a lease that expires, and the work is done again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from db import embeddings, index_versions, late_writes, photo_warnings, work
from db.media import image_prefix
from db.photo_tags import TermState
from db.work import Claim, ClaimedPhoto
from models.errors import AppError, NotFound
from models.search import TextVector
from serve_app.beside import Beside, Computed, left_out, note_change, note_embedded, upserted
from serve_app.found_entries import upsert_found
from serve_app.index_parts import IndexingParts, by_shop, held, record_of, renewed, texts_of
from serve_app.item_vectors import save_new
from serve_app.judge_photos import NEAREST, Judgement, Vocabulary
from serve_app.late_writes import shops_of, take_out
from serve_app.photos import prepare_photo
from serve_app.ports import BulkEmbedders, BulkImageEmbedder, BulkTextEmbedder, Pixels, Vector

logger = logging.getLogger("serve_app")
BATCHES_IN_FLIGHT = 2


def embed_claim(
    parts: IndexingParts, embedders: BulkEmbedders, claim: Claim, beside: Beside | None = None
) -> int:
    """Embed the claimed photos and publish their vectors; the number that became ``embedded``.

    A photo that cannot be read fails with its reason. A part that does not answer puts the photos back
    without counting the attempt; one of ``beside``, the version that is being built, leaves them to its fill.
    """
    with _giving_back(parts, claim):
        photos = renewed(parts, claim, claim.photos)
        states = parts.judge.states(photos)
        photos, texts = _with_texts(parts, embedders.text, claim, photos)
        photos, vocabularies = _with_vocabularies(parts, embedders.text, claim, photos, states)
        vectors = _vectors(parts, embedders.image, claim, photos)
        judged = parts.judge.judge(states, vocabularies, vectors)
        photos = [photo for photo in photos if photo.image_id in vectors]
        photos = parts.judge.fill(claim.token, photos, judged)
        built = _computed(beside, claim, photos) if beside is not None else None
        return _publish(parts, claim, photos, (Computed(parts, vectors, texts), built), judged)
    return 0


def delete_claim(parts: IndexingParts, claim: Claim) -> int:
    """Remove the claimed photos' vectors, files and, last, rows; the number of rows removed."""
    with _giving_back(parts, claim):
        photos = renewed(parts, claim, claim.photos)
        for shop_id, own in by_shop(photos).items():
            _delete_everywhere(parts, shop_id, [photo.image_id for photo in own])
            for photo in own:
                parts.media.delete_tree(image_prefix(shop_id, photo.image_id))
        with parts.database.transaction() as session:
            removed = work.finish_deleted(session, claim.token, [photo.image_id for photo in photos])
            if removed:
                keys = {version.model_key for version in index_versions.maintained(session)}
                note_change(session, keys, {photo.shop_id for photo in photos})
            return removed
    return 0


def _delete_everywhere(parts: IndexingParts, shop_id: int, image_ids: list[int]) -> None:
    """From every version, the retired ones too: no rollback may bring a deleted photo back."""
    with parts.database.transaction() as session:
        versions = index_versions.ids(session)
    for version_id in versions:
        parts.vectors.delete(version_id, shop_id, image_ids)


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


def _vectors(
    parts: IndexingParts, embedder: BulkImageEmbedder, claim: Claim, photos: list[ClaimedPhoto]
) -> dict[int, Vector]:
    """The vector of each readable photo: from PostgreSQL where it is known, else from the model."""
    with parts.database.transaction() as session:
        photos = held(session, parts, claim, photos)
        vectors = embeddings.stored(session, photos, parts.model_key)
    unknown = [photo for photo in photos if photo.image_id not in vectors]
    step = parts.args.embed_batch
    batches = [unknown[start : start + step] for start in range(0, len(unknown), step)]

    def embedded(batch: list[ClaimedPhoto]) -> list[tuple[int, Vector]]:
        readable, pixels = _prepare(parts, claim.token, batch)
        found = embedder.embed(pixels) if readable else ()
        renewed(parts, claim, photos)
        return [(photo.image_id, vector) for photo, vector in zip(readable, found, strict=True)]

    # While the model has one batch, the next one is decoded.
    with ThreadPoolExecutor(BATCHES_IN_FLIGHT) as pool:
        for found in pool.map(embedded, batches):
            vectors.update(found)
    return vectors


def _prepare(
    parts: IndexingParts, token: str, photos: Sequence[ClaimedPhoto]
) -> tuple[list[ClaimedPhoto], Pixels]:
    readable: list[ClaimedPhoto] = []
    pixels = parts.geometry.batch(len(photos))
    for photo in photos:
        try:
            data = parts.media.load(photo.photo_key)
            pixels[len(readable)] = prepare_photo(data, parts.geometry, max_pixels=parts.max_pixels)
            readable.append(photo)
        except AppError as error:
            if error.status_code >= 500:
                raise
            reason = "The stored photo is gone." if isinstance(error, NotFound) else error.message
            with parts.database.transaction() as session:
                work.finish_failed(session, token, photo.image_id, reason)
    return readable, pixels[: len(readable)]


def _with_texts(
    parts: IndexingParts, embedder: BulkTextEmbedder, claim: Claim, photos: list[ClaimedPhoto]
) -> tuple[list[ClaimedPhoto], dict[int, TextVector]]:
    """The photos that can go on, and the vectors of their texts where the shop gives text a weight.

    Before the photos are decoded: while the text tower is out, those that need it wait, and cost nothing.
    """
    weighted = [photo for photo in photos if photo.text_weight > 0]
    with _giving_back(parts, Claim(claim.token, weighted)):
        return photos, texts_of(parts, embedder, claim, photos)
    return [photo for photo in photos if photo.text_weight == 0], {}


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
        return photos, parts.judge.vocabularies(embedder, states, lambda: renewed(parts, claim, photos))
    return [photo for photo in photos if not states[photo.image_id].missing], {}


def _computed(beside: Beside, claim: Claim, photos: list[ClaimedPhoto]) -> Computed | None:
    """None where a part of it does not answer."""
    try:
        texts = texts_of(beside.parts, beside.embedders.text, claim, photos)
        return Computed(beside.parts, _vectors(beside.parts, beside.embedders.image, claim, photos), texts)
    except AppError as error:
        left_out(len(photos), error)
        return None


def _publish(
    parts: IndexingParts,
    claim: Claim,
    photos: list[ClaimedPhoto],
    made: tuple[Computed, Computed | None],
    judged: Mapping[int, Judgement],
) -> int:
    """``made``: for the live version, and for the one that is being built."""
    (live, built), vectors = made, made[0].vectors
    warnings = {photo.image_id: judged[photo.image_id].warnings for photo in photos}
    with parts.database.transaction() as session:
        photos = held(session, parts, claim, photos)
        rows = [(photo.image_id, photo.photo_sha256, vectors[photo.image_id]) for photo in photos]
        embeddings.save(session, parts.model_key, rows)
        save_new(session, parts.model_key, photos, vectors, live.texts)
    try:
        for shop_id, own in by_shop(photos).items():
            records = [record_of(one, live.indexed(one)) for one in own]
            # Asked after they were written: of two photos at once, the later one meets the other.
            hits = upsert_found(parts.vectors, (parts.version_id, shop_id), records, NEAREST)
            for image_id, found in parts.judge.near_duplicates(shop_id, own, vectors, hits).items():
                warnings[image_id].append(found)
        built = upserted(built, photos)
        with parts.database.transaction() as session:
            done = work.finish_embedded(session, claim.token, photos, parts.version_id)
            photo_warnings.save(session, done, warnings)
            note_embedded(session, parts, built, [photo for photo in photos if photo.image_id in done])
    except AppError:  # the write may have happened, in whole or in part
        _reconcile(parts, claim.token, photos)
        raise
    _reconcile(parts, claim.token, [photo for photo in photos if photo.image_id not in done])
    return len(done)


def _reconcile(parts: IndexingParts, token: str, photos: list[ClaimedPhoto]) -> None:
    """After a write without the lease: redo what lives (from its stored vector), remove what is gone."""
    if not photos:
        return
    with parts.database.transaction() as session:
        work.touch_lost(session, [photo.image_id for photo in photos], token)
        late = late_writes.find(session, token, shops_of(photos))
        versions = index_versions.ids(session)
    take_out(parts.vectors, versions, late)
