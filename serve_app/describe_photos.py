"""The background work on photos that the index has: write what changed of their terms, texts and weight.

Every step may be repeated, as in ``serve_app.indexing``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from db import embeddings, index_versions, item_vectors, work
from db.photo_tags import TermState
from db.work import Claim, ClaimedPhoto
from models.errors import AppError, DependencyUnavailable
from serve_app.beside import DescribedBeside, left_out, note_change
from serve_app.index_parts import IndexParts, by_shop, record_of, renewed, texts_of
from serve_app.item_vectors import Reweighted, reweighted
from serve_app.ports import BulkTextEmbedder, Vector

logger = logging.getLogger("serve_app")


class Written(NamedTuple):
    """What a version got of the claimed photos: by image id, the vectors that may be other ones by now.

    ``complete``: it has those too. Without its text tower it has their terms only.
    """

    parts: IndexParts
    vectors: dict[int, Reweighted]
    complete: bool = True


def update_metadata(
    parts: IndexParts, embedder: BulkTextEmbedder, claim: Claim, beside: DescribedBeside | None = None
) -> int:
    """Write the claimed photos' terms, and their vectors where text has or had a weight, into the index.

    Terms that are missing since ``auto_tag`` was asked for are filled in first; while the text tower is out,
    those photos wait, and the others do not.
    Returns the number of photos that it is right about then. They are found by prompts all the time. Chroma
    ignores ids that it does not have. The same goes to ``beside``, the version that is being built.
    """
    photos = _filled_in(parts, embedder, claim, renewed(parts, claim, claim.photos))
    with _later(parts, Claim(claim.token, photos)):
        vectors = _reweighted(parts, embedder, claim, photos)
        _write(parts, photos, vectors)
        written = [Written(parts, vectors)]
        if beside is not None:
            written.append(_written_beside(beside, claim, photos))
        return _finish(parts, claim, photos, written)
    return 0


def _reweighted(
    parts: IndexParts, embedder: BulkTextEmbedder, claim: Claim, photos: list[ClaimedPhoto]
) -> dict[int, Reweighted]:
    texts = texts_of(parts, embedder, claim, photos)
    return reweighted(parts.database, parts.model_key, photos, texts)


def _written_beside(beside: DescribedBeside, claim: Claim, photos: list[ClaimedPhoto]) -> Written:
    try:
        vectors, complete = _reweighted(beside.parts, beside.texts, claim, photos), True
    except AppError as error:
        left_out(len(photos), error)
        vectors, complete = {}, False
    _write(beside.parts, photos, vectors)
    return Written(beside.parts, vectors, complete)


def _filled_in(
    parts: IndexParts, embedder: BulkTextEmbedder, claim: Claim, photos: list[ClaimedPhoto]
) -> list[ClaimedPhoto]:
    """The photos that can go on, their missing terms filled in by their stored vectors."""
    found = parts.judge.states(photos)
    states = {image_id: TermState(state.missing) for image_id, state in found.items() if state.missing}
    if not states:
        return photos
    tagged = [photo for photo in photos if photo.image_id in states]
    with _later(parts, Claim(claim.token, tagged)):
        vocabularies = parts.judge.vocabularies(embedder, states, lambda: renewed(parts, claim, photos))
        vectors: dict[int, Vector] = {}
        with parts.database.transaction() as session:
            for shop_id, own in by_shop(tagged).items():
                ids = [one.image_id for one in own]
                vectors |= embeddings.load(session, shop_id, parts.model_key, ids)
        return parts.judge.fill(claim.token, photos, parts.judge.judge(states, vocabularies, vectors))
    return [photo for photo in photos if photo.image_id not in states]


@contextmanager
def _later(parts: IndexParts, claim: Claim) -> Iterator[None]:
    """When a part of the service does not answer, the photos stay behind for a moment."""
    try:
        yield
    except AppError as error:
        logger.warning("%d photos are described anew later: %s", len(claim.photos), error.message)
        ids, delay_s = [photo.image_id for photo in claim.photos], parts.args.retry_delay_s
        with parts.database.transaction() as session:
            work.release_metadata(session, claim.token, ids, delay_s)


def _write(parts: IndexParts, photos: list[ClaimedPhoto], vectors: dict[int, Reweighted]) -> None:
    for shop_id, own in by_shop(photos).items():
        terms = {one.image_id: one.terms for one in own if one.image_id not in vectors}
        parts.vectors.update_metadata(parts.version_id, shop_id, terms)
        records = [record_of(one, vectors[one.image_id].indexed) for one in own if one.image_id in vectors]
        parts.vectors.update(parts.version_id, shop_id, records)


def _finish(parts: IndexParts, claim: Claim, photos: list[ClaimedPhoto], written: list[Written]) -> int:
    """Raises DependencyUnavailable where the version that is live by now did not get everything."""
    changed = {image_id for one in written for image_id, found in one.vectors.items() if found.changed}
    weighted = {one.image_id for one in photos if one.text_weight > 0}
    complete = [one.parts for one in written if one.complete]
    with parts.database.transaction() as session:
        if not any(index_versions.is_live(session, one.version_id) for one in complete):
            raise DependencyUnavailable("The photos are indexed with another model since.")
        held = work.finish_metadata(session, claim.token, photos, changed)
        for one in written:
            new = {image_id: one.vectors[image_id].item for image_id in one.vectors.keys() & changed & held}
            item_vectors.save_items(session, one.parts.model_key, new)
        embeddings.leave_out(session, held, {one.parts.model_key for one in written})
        outdated = changed if len(complete) == len(written) else changed | weighted
        keys = {one.model_key for one in complete}
        item_vectors.forget(session, outdated & held, keys)
        note_change(session, keys, {one.shop_id for one in photos if one.image_id in changed & held})
    return len(held)
