"""How far a job is: its counts, its rate and its lease, kept in PostgreSQL in time."""

from __future__ import annotations

import time

from sqlalchemy.orm import Session

from db import import_rows, imports
from db.imports import ClaimedImport
from models.import_job import ImportPhase
from models.job import RowOutcome
from serve_app.import_photos.parts import BatchResult, ImportParts, Interrupted, LeaseLost

SAVE_EVERY_S = 0.5


class Progress:
    """One attempt's. ``counts`` begins with what is settled in PostgreSQL, and is exact again at the end."""

    def __init__(self, parts: ImportParts, job: ClaimedImport) -> None:
        self._parts, self._job = parts, job
        self.phase = job.phase
        with parts.database.transaction() as session:
            self.counts = import_rows.count(session, job.job_id, job.counts)
        self._progressed = False
        self._saved_at = self._working_since = time.monotonic()
        self._skipping_s = 0.0
        self._done_before = 0

    def begin(self, phase: ImportPhase) -> None:
        """A phase, whose rate is measured from now on."""
        self.phase = phase
        self._working_since = time.monotonic()
        self._skipping_s = 0.0
        self._done_before = self._done()
        self.save()

    def skipped(self) -> None:
        """What was done before had to be read again until now; that is no part of the slice."""
        self._skipping_s = time.monotonic() - self._working_since

    def note(self, result: BatchResult) -> None:
        """A batch is done."""
        for outcome, rows in result.outcomes.items():
            self.add(RowOutcome(outcome), rows)
        self.counts.photos += result.photos
        self._progressed = True

    def add(self, outcome: RowOutcome, rows: int) -> None:
        name = "failed" if outcome is RowOutcome.DUPLICATE else outcome.value
        setattr(self.counts, name, getattr(self.counts, name) + rows)

    def advance(self) -> None:
        """Something of this attempt is kept for good."""
        self._progressed = True

    def keep(self) -> None:
        """Save it now and then. Raises LeaseLost, and Interrupted where the work should stop here."""
        if time.monotonic() - self._saved_at >= min(SAVE_EVERY_S, self._parts.indexer.lease_s / 3):
            self.save()

    def save(self) -> None:
        """The same, now."""
        with self._parts.database.transaction() as session:
            is_over = self._slice_is_over() and imports.others_wait(session, self._job.shop_id)
            is_cancelled = self.save_in(session)
        if is_over or is_cancelled:
            raise Interrupted

    def save_in(self, session: Session) -> bool:
        """As part of a transaction; whether the shop wants the job cancelled. Raises LeaseLost."""
        self.counts.rows_per_s = self._rate()
        lease_s = self._parts.indexer.lease_s
        is_cancelled = imports.save(session, self._job, self.phase, self.counts, lease_s=lease_s)
        if is_cancelled is None:
            raise LeaseLost
        self._saved_at = time.monotonic()
        return is_cancelled

    def prolong(self) -> None:
        """Keep the lease, whoever has the next turn. Raises LeaseLost."""
        with self._parts.database.transaction() as session:
            self.save_in(session)

    def _slice_is_over(self) -> bool:
        """Reading again what was done costs time at the start of each slice: it never gets the upper hand."""
        slice_s = max(self._parts.args.slice_s, 3 * self._skipping_s)
        return self._progressed and self._working_s() >= slice_s

    def _working_s(self) -> float:
        return time.monotonic() - self._working_since - self._skipping_s

    def _done(self) -> int:
        return self.counts.checked if self.phase is ImportPhase.CHECKING else self.counts.settled

    def _rate(self) -> float | None:
        working_s, done = self._working_s(), self._done() - self._done_before
        return round(done / working_s, 2) if working_s > 0 and done > 0 else None
