"""One driver at a time: the lease on the job's row, prolonged by a thread beside the work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from db import reindex_jobs
from db.reindex_jobs import ClaimedReindex
from db.session import Database
from models.errors import AppError, Conflict
from models.job import JobStatus
from serve_app.reindexing.parts import Stopped

logger = logging.getLogger("serve_app")
LEASE_S = 15.0
LOOK_S = 0.5


class Hold:
    """``counts`` is what the job's row is to show; ``stop`` makes the next ``keep`` raise. ``failure``: why
    the job counts as failed, though nothing went wrong with the work."""

    def __init__(self, database: Database, claimed: ClaimedReindex, lease_s: float) -> None:
        self._database, self._claimed, self._lease_s = database, claimed, lease_s
        self.counts: dict[str, Any] = dict(claimed.counts)
        self.failure: str | None = None
        self.stop = threading.Event()
        self._lost = threading.Event()
        self._ended = threading.Event()

    def keep(self) -> None:
        """Raises Stopped where somebody wants an end, Conflict where another driver took over."""
        if self._lost.is_set():
            raise Conflict("Another reindexing command has taken over; this one stops.")
        if self.stop.is_set():
            raise Stopped("Stopped. Give the same command again to go on.")

    def rest(self, duration_s: float) -> None:
        """Wait; raises as ``keep`` does."""
        self.stop.wait(duration_s)
        self.keep()

    def note(self, **counts: Any) -> None:
        self.counts = self.counts | counts

    def renew(self) -> None:
        """For as long as it is held; in a thread of its own."""
        while not self._ended.wait(self._lease_s / 5):
            try:
                with self._database.transaction() as session:
                    if not reindex_jobs.save(session, self._claimed, self.counts, self._lease_s):
                        self._lost.set()
            except AppError as error:
                logger.warning("the lease of the reindex is prolonged later: %s", error.message)

    def finish(self, status: JobStatus, error: str | None) -> None:
        self._ended.set()
        with self._database.transaction() as session:
            reindex_jobs.finish(session, self._claimed, status, self.counts, error)


@contextmanager
def holding(
    database: Database, request: dict[str, Any], stop: threading.Event, lease_s: float = LEASE_S
) -> Iterator[Hold]:
    """The lease while the block lasts; its job ends as the block does: succeeded, cancelled or failed.

    Raises Conflict where another driver lives. One that was killed is waited for until its lease runs out.
    """
    hold = Hold(database, _taken(database, request, stop, lease_s), lease_s)
    hold.stop = stop
    thread = threading.Thread(target=hold.renew, name="reindex-lease", daemon=True)
    thread.start()
    try:
        yield hold
    except (Stopped, KeyboardInterrupt, SystemExit):
        with suppress(AppError):
            hold.finish(JobStatus.CANCELLED, "stopped; the same command goes on")
        raise
    except BaseException as error:
        reason = error.message if isinstance(error, AppError) else f"it failed ({type(error).__name__})"
        with suppress(AppError):
            hold.finish(JobStatus.FAILED, reason)
        raise
    hold.finish(JobStatus.FAILED if hold.failure else JobStatus.SUCCEEDED, hold.failure)


def _taken(
    database: Database, request: dict[str, Any], stop: threading.Event, lease_s: float
) -> ClaimedReindex:
    seen = None
    deadline = time.monotonic() + lease_s + 1.0
    while True:
        try:
            with database.transaction() as session:
                return reindex_jobs.start(session, request, lease_s)
        except Conflict:
            with database.transaction() as session:
                until = reindex_jobs.held_until(session)
            renewed = None not in (seen, until) and until != seen
            if renewed or time.monotonic() > deadline:
                raise
            seen = until
        if stop.wait(LOOK_S):
            raise Stopped("Stopped before anything was done.")
