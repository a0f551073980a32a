"""Terms that a model fills in where the shop left them out, each with a mark in ``image.suggestions``.

The mark of a field is the model's confidence. Null says that the shop has decided the field since: it is
never filled again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.orm import Session
from sqlmodel import col

from db.vocabularies import TABLES
from db.work import ClaimedPhoto
from models.image import TERM_COLUMNS, Image
from models.search import PhotoTerms

TERMS = (col(Image.category_id), col(Image.style_id), col(Image.age_group_id))


@dataclass(frozen=True, slots=True)
class TermState:
    """``missing``: fields that a model is to fill. ``stated_category``: as the shop says, None where not."""

    missing: frozenset[str] = frozenset()
    stated_category: int | None = None


class Suggestion(NamedTuple):
    """A term's id and the model's confidence in it, in [0, 1]."""

    term_id: int
    confidence: float


def states(session: Session, image_ids: Collection[int]) -> dict[int, TermState]:
    """By photo, of those that exist."""
    query = select(col(Image.id), col(Image.auto_tag), col(Image.suggestions), *TERMS)
    rows = session.execute(query.where(col(Image.id).in_(image_ids))) if image_ids else ()
    return {row.id: _state(row) for row in rows}


def fill(
    session: Session,
    token: str,
    photos: Sequence[ClaimedPhoto],
    suggested: Mapping[int, Mapping[str, Suggestion]],
) -> list[ClaimedPhoto]:
    """Set terms that are still missing, of photos that ``token`` holds and that are still the judged ones.

    Returns the photos with their terms as they are then; one that changed since its claim as it was: it is
    described anew later. Terms are locked before photos, as a term's deletion does.
    """
    living = {field: _lock_terms(session, field, suggested) for field in TERM_COLUMNS}
    held = (
        select(Image)
        .where(col(Image.id).in_(list(suggested)), col(Image.lease_token) == token)
        .order_by(col(Image.id))
        .with_for_update(key_share=True)
    )
    rows = {row.id: row for row in session.scalars(held)}
    judged = [photo for photo in photos if _is_same(rows.get(photo.image_id), photo)]
    unchanged = {
        photo.image_id
        for photo in judged
        if rows[photo.image_id].metadata_revision == photo.metadata_revision
    }
    for photo in judged:
        _fill_one(rows[photo.image_id], suggested[photo.image_id], living)
    session.flush()
    described = _described(session, unchanged)
    return [
        replace(photo, **described[photo.image_id]) if photo.image_id in unchanged else photo
        for photo in photos
    ]


def _is_same(row: Image | None, photo: ClaimedPhoto) -> bool:
    return row is not None and row.photo_sha256 == photo.photo_sha256


def _fill_one(row: Image, suggested: Mapping[str, Suggestion], living: Mapping[str, set[int]]) -> None:
    for field in _state(row).missing & suggested.keys():
        suggestion = suggested[field]
        if suggestion.term_id in living[field]:
            setattr(row, TERM_COLUMNS[field], suggestion.term_id)
            row.suggestions = row.suggestions | {field: round(suggestion.confidence, 4)}
            row.updated_at = datetime.now(UTC)


def _lock_terms(session: Session, field: str, suggested: Mapping[int, Mapping[str, Suggestion]]) -> set[int]:
    wanted = {one[field].term_id for one in suggested.values() if field in one}
    table = TABLES[field]
    query = select(col(table.id)).where(col(table.id).in_(wanted)).order_by(col(table.id))
    return set(session.scalars(query.with_for_update(read=True, key_share=True))) if wanted else set()


def _state(image: Image | Row[Any]) -> TermState:
    empty = {field for field, column in TERM_COLUMNS.items() if getattr(image, column) is None}
    open_fields = {field for field in empty if image.suggestions.get(field, 0.0) is not None}
    by_model = image.suggestions.get("Category") is not None
    return TermState(
        missing=frozenset(open_fields) if image.auto_tag else frozenset(),
        stated_category=None if by_model else image.category_id,
    )


def _described(session: Session, image_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """Terms with their revision, which the trigger counted on."""
    query = select(col(Image.id), col(Image.metadata_revision), *TERMS).where(col(Image.id).in_(image_ids))
    return {
        image_id: {"terms": PhotoTerms(*ids), "metadata_revision": revision}
        for image_id, revision, *ids in session.execute(query)
        if image_id is not None
    }
