"""The first phase: the whole feed is read and what is wrong with it noted, before anything is stored."""

from __future__ import annotations

from db import import_rows, imports
from db.imports import ClaimedImport
from db.media import source_folder
from models.errors import RemovalRefused, RowsRejected
from models.feed import FeedMode, FeedRow, OnError
from models.job import RowOutcome
from serve_app.import_photos.chunks import chunks, in_batches
from serve_app.import_photos.parts import Batch, Batches, ImportParts, Row, Step
from serve_app.import_photos.progress import Progress
from serve_app.import_photos.teamwork import Teamwork


class FeedCheck:
    """Repeatable: lines that are noted are not noted again, photos that are checked are not read again."""

    def __init__(self, parts: ImportParts, job: ClaimedImport, batches: Batches, progress: Progress) -> None:
        self._parts, self._job, self._progress = parts, job, progress
        self._team = Teamwork(parts, batches, progress)
        self._rejects = job.request.on_error is OnError.REJECT_ALL
        self._kept_bytes = parts.media.usage(source_folder(job.request.source))[1] if self._rejects else 0

    def run(self) -> None:
        """Raises FeedUnreadable, RowsRejected and RemovalRefused: the job fails, nothing is stored."""
        counts = self._progress.counts
        with self._parts.database.transaction() as session:
            last_line = import_rows.last_line(session, self._job.job_id)
        counts.checked = 0
        with self._parts.rows_of(self._job.request) as rows:
            for chunk in chunks(rows):
                new = [row for row in chunk if row.line > last_line]
                if new:
                    self._note(new)
                if self._rejects:
                    self._look_at_photos(chunk)
                counts.checked += len(chunk)
                if not new:
                    self._progress.skipped()
                self._progress.keep()
        self._team.wait_for_all()
        counts.total = counts.checked
        self._refuse_broken_rows()
        self._refuse_large_removal()

    def _note(self, rows: list[Row]) -> None:
        with self._parts.database.transaction() as session:
            broken = import_rows.add(session, self._job.job_id, rows)
            import_rows.add_errors(session, self._job.job_id, broken, self._parts.args.max_errors)
            imports.note_progress(session, self._job)
        self._progress.add(RowOutcome.FAILED, len(broken))
        self._progress.advance()

    def _look_at_photos(self, chunk: list[Row]) -> None:
        with self._parts.database.transaction() as session:
            lines = import_rows.open_lines(
                session, self._job.job_id, [row.line for row in chunk], unchecked=True
            )
        rows = [row for row in chunk if isinstance(row, FeedRow) and row.line in lines]
        for batch in in_batches(rows, self._parts.args.batch_rows):
            keep = self._kept_bytes < self._parts.args.max_bytes
            self._kept_bytes += self._team.start(Batch(Step.CHECK, batch, keep))

    def _refuse_broken_rows(self) -> None:
        counts = self._progress.counts
        if self._rejects and counts.failed:
            raise RowsRejected(
                f"{counts.failed:,} of {counts.total or 0:,} rows are broken, so nothing was stored. Correct "
                "them and send the feed again, or send it with on_error=skip_rows to store the others."
            )

    def _refuse_large_removal(self) -> None:
        request = self._job.request
        if request.mode is not FeedMode.FULL or request.confirm_removal:
            return
        with self._parts.database.transaction() as session:
            nameless = import_rows.without_sku(session, self._job.job_id)
            removed, photos = import_rows.count_absent(
                session, self._job.job_id, self._job.shop_id, self._job.created_at
            )
        if removed and nameless:
            raise RemovalRefused(
                f"{nameless:,} rows of the feed have no sku that can be read, so nobody knows which of the "
                f"{removed:,} photos that it seems to leave out they stand for. Nothing was stored. Correct "
                "the rows, or send the feed with confirm_removal=true."
            )
        share = self._parts.args.max_removed_share
        if removed > share * photos:
            raise RemovalRefused(
                f"The feed leaves out {removed:,} of the shop's {photos:,} photos, more than {share:.0%}. "
                "Nothing was stored. If they are to be removed, send it with confirm_removal=true."
            )
