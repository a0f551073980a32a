"""One attempt at an import, or one slice of it: phase after phase, from where the last one got to."""

from __future__ import annotations

import logging

from db import import_rows, imports
from db.imports import ClaimedImport
from models.errors import AppError, NotAuthenticated
from models.feed import FeedMode, FeedRow
from models.import_job import ImportPhase
from serve_app.import_photos.check_feed import FeedCheck
from serve_app.import_photos.chunks import chunks, in_batches
from serve_app.import_photos.parts import (
    Batch,
    Batches,
    BatchLost,
    ImportParts,
    Interrupted,
    LeaseLost,
    Row,
    Step,
)
from serve_app.import_photos.progress import Progress
from serve_app.import_photos.teamwork import Teamwork

logger = logging.getLogger("serve_app")


def run_import(parts: ImportParts, job: ClaimedImport, batches: Batches) -> bool:
    """True once there is nothing left to do but to wait for the photos' vectors, or to clean up.

    False where the job goes back to the queue: it was another shop's turn, or something did not answer.
    """
    try:
        _Import(parts, job, batches).run()
        return True
    except LeaseLost:
        logger.warning("the import %d is another worker's by now", job.job_id)
    except Interrupted:
        _give_back(parts, job)
    except BatchLost:
        _give_back(parts, job, "a process that worked on its rows died", crashed=True)
    except NotAuthenticated as error:  # the shop was closed; while it is not active, nobody claims the job
        _give_back(parts, job, error.message)
    except AppError as error:
        logger.warning("the import %d goes back to the queue: %s", job.job_id, error.message)
        _give_back(parts, job, error.message)
    return False


class _Import:
    def __init__(self, parts: ImportParts, job: ClaimedImport, batches: Batches) -> None:
        self._parts, self._job, self._batches = parts, job, batches
        self._progress = Progress(parts, job)
        self._team = Teamwork(parts, batches, self._progress)

    def run(self) -> None:
        try:
            self._run_phases()
        except Interrupted:
            self._team.drain()
            raise
        except NotAuthenticated:  # the shop was closed
            raise
        except AppError as error:
            if error.status_code >= 500:
                raise
            self._hand_over(ImportPhase.FAILING, error)

    def _run_phases(self) -> None:
        progress, request = self._progress, self._job.request
        if progress.phase is ImportPhase.CHECKING:
            progress.begin(ImportPhase.CHECKING)
            FeedCheck(self._parts, self._job, self._batches, progress).run()
            progress.begin(ImportPhase.STORING)
        if progress.phase is ImportPhase.STORING:
            self._store()
            progress.begin(ImportPhase.REMOVING if request.mode is FeedMode.FULL else ImportPhase.INDEXING)
        if progress.phase is ImportPhase.REMOVING:
            self._remove()
        self._hand_over(ImportPhase.INDEXING)

    def _store(self) -> None:
        """Rows that have no outcome yet, in batches; the feed is read again from its beginning."""
        with self._parts.rows_of(self._job.request) as rows:
            for chunk in chunks(rows):
                left = self._left(chunk)
                if not left:
                    self._progress.skipped()
                for batch in in_batches(left, self._parts.args.batch_rows):
                    self._team.start(Batch(Step.STORE, batch))
                self._progress.keep()
        self._team.wait_for_all()

    def _left(self, chunk: list[Row]) -> list[FeedRow]:
        with self._parts.database.transaction() as session:
            lines = import_rows.open_lines(session, self._job.job_id, [row.line for row in chunk])
        return [row for row in chunk if isinstance(row, FeedRow) and row.line in lines]

    def _remove(self) -> None:
        """Counted in the transactions that remove."""
        job = self._job
        while True:
            with self._parts.database.transaction() as session:
                removed = import_rows.remove_absent(session, job.job_id, job.shop_id, job.created_at)
                self._progress.counts.removed += removed
                self._progress.advance()
                if removed:
                    imports.note_progress(session, job)
                is_cancelled = self._progress.save_in(session)
            if is_cancelled:
                raise Interrupted
            if not removed:
                return

    def _hand_over(self, phase: ImportPhase, error: AppError | None = None) -> None:
        message, code = (error.message, error.code) if error is not None else (None, None)
        with self._parts.database.transaction() as session:
            counts = import_rows.count(session, self._job.job_id, self._progress.counts)
            if not imports.hand_over(session, self._job, phase, counts, error=message, error_code=code):
                raise LeaseLost


def _give_back(
    parts: ImportParts, job: ClaimedImport, error: str | None = None, *, crashed: bool = False
) -> None:
    delay_s = 0.0 if error is None else parts.indexer.retry_delay_s
    with parts.database.transaction() as session:
        imports.give_back(session, job, delay_s=delay_s, error=error, crashed=crashed)
