"""One batch of rows: prepared, then stored and settled in one transaction.

Whatever is killed, a row has its outcome if and only if its item is stored. The same batch may be worked on
twice, even at once: rows that have an outcome are locked out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from db import images, import_rows, imports, shops, vocabularies
from db.imports import ClaimedImport
from db.media import image_prefix, imported_photo_key
from db.open_shops import lock_open
from models.errors import Conflict, DependencyUnavailable
from models.feed import BrokenRow
from models.image import TERM_COLUMNS, Image
from models.image_api import ImageFields
from models.job import RowOutcome
from serve_app.import_photos.parts import Batch, BatchResult, ImportParts, LeaseLost, Moved
from serve_app.import_photos.prepare import Prepared, PreparedBatch, prepare
from serve_app.photo_rows import change_row, new_row, news, photo_columns, remove_file

ATTEMPTS = 4
WRITERS = 8


def check_rows(parts: ImportParts, job: ClaimedImport, batch: Batch) -> BatchResult:
    """Find out what is wrong with the rows, their photos included, and note it; nothing is stored."""
    ready = prepare(parts, job, batch)
    with parts.database.transaction() as session:
        if not imports.holds(session, job):
            raise LeaseLost
        lock_open(session, job.shop_id)
        lines = import_rows.lock_open_lines(session, job.job_id, [row.line for row in batch.rows])
        broken = [row for row in ready.broken if row.line in lines]
        import_rows.settle(session, job.job_id, {row.line: RowOutcome.FAILED for row in broken})
        import_rows.add_errors(session, job.job_id, broken, parts.args.max_errors)
        import_rows.mark_checked(session, job.job_id, lines)
        if lines:
            imports.note_progress(session, job)
    outcomes = {RowOutcome.FAILED.value: len(broken)}
    return BatchResult(outcomes, kept_bytes=ready.kept_bytes)


def store_rows(parts: ImportParts, job: ClaimedImport, batch: Batch) -> BatchResult:
    """Store the rows that have no outcome yet. Raises LeaseLost, and what a part does not answer."""
    for _ in range(ATTEMPTS):
        ready = prepare(parts, job, batch)
        try:
            return _Storing(parts, job, ready).run()
        except (Moved, Conflict):  # another request changed an item of the batch meanwhile
            continue
    raise DependencyUnavailable("Items of the feed are changed by others all the time.")


@dataclass
class _Storing:
    parts: ImportParts
    job: ClaimedImport
    ready: PreparedBatch
    outcomes: dict[int, RowOutcome] = field(default_factory=dict)
    broken: list[BrokenRow] = field(default_factory=list)
    rows: list[Image] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    new_photos: set[int] = field(default_factory=set)

    def run(self) -> BatchResult:
        database, job_id = self.parts.database, self.job.job_id
        new = [one.row.line for one in self.ready.rows if one.known is None]
        with database.transaction() as session:
            ids = import_rows.set_aside_ids(session, job_id, new)
        with database.transaction() as session:
            self._store(session, ids)
        for key in self.unnamed:
            remove_file(self.parts.media, key)
        return BatchResult(dict(Counter(one.value for one in self.outcomes.values())), len(self.new_photos))

    def _store(self, session: Session, ids: dict[int, int]) -> None:
        """Locks in the order in which everybody takes them: shop, terms, photos by id, quota."""
        shop_id, job_id = self.job.shop_id, self.job.job_id
        lock_open(session, shop_id)
        if not imports.holds(session, self.job):
            raise LeaseLost
        every = [one.row.line for one in self.ready.rows] + [row.line for row in self.ready.broken]
        lines = import_rows.lock_open_lines(session, job_id, every)
        self.broken = [row for row in self.ready.broken if row.line in lines]
        ready = [one for one in self.ready.rows if one.row.line in lines]
        if not vocabularies.hold(session, _terms(ready)):
            raise Moved
        stored = images.lock_by_sku(session, shop_id, [one.row.sku for one in ready])
        for one in ready:
            self._place(one, stored.get(one.row.sku), ids)
        self._write_files()
        images.save_all(session, self.rows)
        self._keep_quota(session, ready)
        self.outcomes |= {row.line: RowOutcome.FAILED for row in self.broken}
        import_rows.settle(session, job_id, self.outcomes, self.new_photos)
        import_rows.add_errors(session, job_id, self.broken, self.parts.args.max_errors)
        if self.outcomes:
            imports.note_progress(session, self.job)

    def _place(self, one: Prepared, image: Image | None, ids: dict[int, int]) -> None:
        line = one.row.line
        if (image is None) != (one.known is None):
            raise Moved
        if image is None:
            self._add(one, ids[line])
            self.outcomes[line] = RowOutcome.CREATED
            return
        if one.known is None or image.photo_sha256 != one.known.sha256:
            raise Moved
        changes = news(image, one.given)
        if changes:
            change_row(image, changes)
        if one.photo is not None and one.info is not None:
            self.unnamed.append(image.photo_key)
            images.replace_photo(image, photo_columns(one.photo.data, one.info))
            self._put(one, image)
        elif one.photo is not None:
            image.source_url, image.source_etag = one.photo.source_url, one.photo.source_etag
        is_changed = bool(changes) or one.info is not None
        self.outcomes[line] = RowOutcome.UPDATED if is_changed else RowOutcome.UNCHANGED
        self.rows.append(image)

    def _add(self, one: Prepared, image_id: int) -> None:
        if one.photo is None or one.info is None:
            raise AssertionError("a new item has a photo")
        fields = ImageFields.model_validate({**one.given, "sku": one.row.sku})
        image = new_row(self.job.shop_id, fields, photo_columns(one.photo.data, one.info))
        image.id = image_id
        self._put(one, image)
        self.rows.append(image)

    def _put(self, one: Prepared, image: Image) -> None:
        """Name the row's new file, which is written before the row."""
        if one.photo is None or image.id is None:
            raise AssertionError("a photo and its row's id are known")
        image.photo_key = imported_photo_key(
            self.job.shop_id, image.id, image.photo_sha256, image.photo_type, self.job.job_id
        )
        image.source_url, image.source_etag = one.photo.source_url, one.photo.source_etag
        image.import_job_id = self.job.job_id
        self.files[image.photo_key] = one.photo.data
        self.new_photos.add(one.row.line)

    def _write_files(self) -> None:
        """While the shop is held open, so that none appears in one that is being deleted."""
        with ThreadPoolExecutor(WRITERS) as writers:
            for written in [writers.submit(self.parts.media.save, *file) for file in self.files.items()]:
                written.result()

    def _keep_quota(self, session: Session, ready: Sequence[Prepared]) -> None:
        """Take back the last new items where the shop has more than it may."""
        max_photos = shops.max_photos(session, self.job.shop_id)
        new = [one for one in ready if self.outcomes[one.row.line] is RowOutcome.CREATED]
        excess = self.parts.quota.excess(session, self.job.shop_id, max_photos) if new else 0
        if not excess:
            return
        error = self.parts.quota.full(max_photos)
        by_sku = {image.sku: image for image in self.rows}
        for one in new[-excess:]:
            image = by_sku[one.row.sku]
            session.delete(image)
            self.unnamed.append(image_prefix(self.job.shop_id, image.id or 0))
            self.broken.append(one.row.broken(error.code, error.message))
            self.new_photos.discard(one.row.line)
        session.flush()


def _terms(ready: Sequence[Prepared]) -> dict[str, set[Any]]:
    return {
        field: {one.given[field] for one in ready if one.given.get(field) is not None}
        for field in TERM_COLUMNS
    }
