"""Rows of a feed, ready to be stored: terms looked up, photos read and decoded. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db import images, vocabularies
from db.images import KnownPhoto
from db.imports import ClaimedImport
from models.errors import AppError, PhotoMissing
from models.feed import BrokenRow, FeedRow
from models.image import TERM_COLUMNS
from serve_app.import_photos.parts import Batch, ImportParts
from serve_app.import_photos.row_photos import Found, RowPhoto, RowPhotos
from serve_app.import_photos.terms import TermIds
from serve_app.photos import PhotoInfo, check_photo


@dataclass(frozen=True, slots=True)
class Prepared:
    """``given``: what the row says, terms as ids. ``known``: what is stored under its sku so far.

    ``photo``: of the row, with ``info`` where it is another one than the stored one.
    """

    row: FeedRow
    given: dict[str, Any]
    known: KnownPhoto | None
    photo: RowPhoto | None
    info: PhotoInfo | None


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    rows: list[Prepared]
    broken: list[BrokenRow]
    kept_bytes: int


def prepare(parts: ImportParts, job: ClaimedImport, batch: Batch) -> PreparedBatch:
    """Raises DependencyUnavailable where a part does not answer; what is wrong with a row breaks that row."""
    with parts.database.transaction() as session:
        known = images.known_photos(session, job.shop_id, [row.sku for row in batch.rows])
        terms = TermIds.of(vocabularies.all_terms(session))
    photos = RowPhotos(parts, job, batch)
    found = photos.load(known)
    ready: list[Prepared] = []
    broken: list[BrokenRow] = []
    for row in batch.rows:
        try:
            ready.append(_prepared(parts, job, row, terms, known, found[row.line]))
        except AppError as error:
            if error.status_code >= 500:
                raise
            broken.append(row.broken(error.code, error.message))
    return PreparedBatch(ready, broken, photos.kept_bytes)


def _prepared(
    parts: ImportParts,
    job: ClaimedImport,
    row: FeedRow,
    terms: TermIds,
    known: Mapping[str, KnownPhoto],
    found: Found,
) -> Prepared:
    if isinstance(found, AppError):
        raise found
    stored = known.get(row.sku)
    if stored is None and found is None:
        raise PhotoMissing(
            f"The shop has no item with the sku '{row.sku}' yet, and the row brings no photo. Add its photo."
        )
    given = _given(terms.resolved(row), row, is_new=stored is None, auto_tag=job.request.auto_tag)
    is_same = found is not None and stored is not None and found.sha256 == stored.sha256
    info = check_photo(found.data, parts.photos) if found is not None and not is_same else None
    return Prepared(row, given, stored, found, info)


def _given(values: dict[str, Any], row: FeedRow, *, is_new: bool, auto_tag: bool) -> dict[str, Any]:
    """What the row says of its item. A term that is to be filled in by the model is not emptied by it."""
    if auto_tag:
        values.setdefault("auto_tag", True)
    if values.get("auto_tag"):
        values = {name: one for name, one in values.items() if name not in TERM_COLUMNS or one is not None}
    return values if is_new else {name: one for name, one in values.items() if name not in row.only_new}
