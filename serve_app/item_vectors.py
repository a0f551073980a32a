"""The vectors by which items are found: their photo's and their text's, as the shop weights them.

A text's vector is kept beside the photo's with the SHA-256 of the text. So another weight needs no model at
all, another text needs the text tower only, and a shop that gives text no weight pays nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from db import item_vectors
from db.session import Database
from db.work import ClaimedPhoto
from models.search import TextVector
from serve_app.embed_texts import TEXTS_PER_STEP
from serve_app.ports import BulkTextEmbedder, Vector

SHORTEST_MIX = 1e-6


class Reweighted(NamedTuple):
    """``indexed``: the vector (d,) that the index is to have. ``item``: the same, None for the photo's own.

    ``changed``: it is another one than was noted before.
    """

    indexed: Vector
    item: Vector | None
    changed: bool


def item_text(name: str, description: str) -> str:
    """What of an item is put into words, the name first: the model reads no more than its token limit."""
    return f"{name}. {description}" if description else name


def item_vector(photo: Vector, text: Vector, weight: float) -> Vector:
    """(d,) float32, unit length: ((1 - w)·photo + w·text) / ‖(1 - w)·photo + w·text‖, all of unit length.

    Where photo and text cancel each other out there is no direction, and the photo's is taken.
    """
    if weight in (0.0, 1.0):
        return text if weight else photo
    mixed = (1.0 - weight) * photo.astype(np.float64) + weight * text.astype(np.float64)
    length = float(np.linalg.norm(mixed))
    return (mixed / length).astype(np.float32) if length > SHORTEST_MIX else photo


def text_vectors(
    database: Database,
    model_key: str,
    embedder: BulkTextEmbedder,
    photos: Sequence[ClaimedPhoto],
    hold: Callable[[Session], set[int]],
) -> dict[int, TextVector]:
    """The vector of each photo's text, by image id, of those whose shop gives text a weight.

    Only texts that are not known are embedded, equal ones once, and kept some at a time: ``hold`` prolongs
    the photos' leases and tells which of them are still held. Raises what the embedder raises.
    """
    weighted = {photo.image_id: photo for photo in photos if photo.text_weight > 0}
    if not weighted:
        return {}
    texts = {image_id: item_text(one.name, one.description) for image_id, one in weighted.items()}
    digests = {image_id: hashlib.sha256(text.encode()).hexdigest() for image_id, text in texts.items()}
    with database.transaction() as session:
        known = item_vectors.texts(session, model_key, list(weighted))
    found = {one.sha256: one.vector for one in known.values()}
    missing = {digest: texts[image_id] for image_id, digest in digests.items() if digest not in found}
    remaining = iter(missing.items())
    while step := dict(islice(remaining, TEXTS_PER_STEP)):
        found |= zip(step, embedder.embed(list(step.values())), strict=True)
        new = {image_id: TextVector(one, found[one]) for image_id, one in digests.items() if one in step}
        with database.transaction() as session:
            held = hold(session)
            item_vectors.save_texts(session, model_key, {one: new[one] for one in new.keys() & held})
    return {image_id: TextVector(digest, found[digest]) for image_id, digest in digests.items()}


def reweighted(
    database: Database, model_key: str, photos: Sequence[ClaimedPhoto], texts: Mapping[int, TextVector]
) -> dict[int, Reweighted]:
    """The vectors, by image id, of those embedded photos of which the index may have another one."""
    stale = {one.image_id: one.text_weight for one in photos if one.text_weight > 0 or one.item_weight != 0}
    if not stale:
        return {}
    with database.transaction() as session:
        known = item_vectors.photos_and_items(session, model_key, list(stale))
    found: dict[int, Reweighted] = {}
    for image_id, (photo, former) in known.items():
        weight = stale[image_id]
        item = item_vector(photo, texts[image_id].vector, weight) if weight > 0 else None
        indexed, before = photo if item is None else item, photo if former is None else former
        found[image_id] = Reweighted(indexed, item, changed=not np.array_equal(indexed, before))
    return found


def save_new(
    session: Session,
    model_key: str,
    photos: Sequence[ClaimedPhoto],
    vectors: Mapping[int, Vector],
    texts: Mapping[int, TextVector],
) -> dict[int, Vector]:
    """Keep texts and items of photos whose own vectors were just saved; the items' vectors, by image id."""
    weighted = {one.image_id: one.text_weight for one in photos if one.text_weight > 0}
    items = {
        image_id: item_vector(vectors[image_id], texts[image_id].vector, weight)
        for image_id, weight in weighted.items()
    }
    item_vectors.save_texts(session, model_key, {image_id: texts[image_id] for image_id in items})
    item_vectors.save_items(session, model_key, items)
    return items
