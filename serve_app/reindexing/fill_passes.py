"""Fill a version in passes over all photos, until a pass finds none that lacks a vector.

No place is remembered: what is lacking is what PostgreSQL does not have, whoever was killed meanwhile.
"""

from __future__ import annotations

import time

from db import reindexing
from models.errors import AppError, ConfigurationError, DependencyUnavailable
from serve_app.fill_version import Filled
from serve_app.reindexing.hold import Hold
from serve_app.reindexing.parts import Partitions, ReindexParts

PAGE_PHOTOS = 2_048
WAIT_S = 0.5
LONGEST_PAUSE_S = 30.0
LONGEST_REST_S = 5.0  # between two passes that find the same photos under work
PATIENCE_S = 600.0


class FillPasses:
    """``unreadable``: why photos cannot have a vector, by id, as the last ``complete`` found them."""

    def __init__(self, parts: ReindexParts, hold: Hold, partitions: Partitions, model_key: str) -> None:
        self._parts, self._hold, self._partitions, self._model_key = parts, hold, partitions, model_key
        self.unreadable: dict[int, str] = {}
        self.photos = 0
        self._done = 0
        self._pause_s = 0.0
        self._progress_at = 0.0

    def complete(self) -> None:
        """Raises DependencyUnavailable where nothing could be filled for ten minutes, ConfigurationError
        where the model cannot be loaded, and what ``Hold.keep`` raises."""
        self.unreadable = {}
        before = self._progress_at = time.monotonic()
        rest_s = WAIT_S
        while lacking := self._one_pass():
            self._give_up_if_stuck(
                f"{lacking} photos lack a vector, and somebody works on them all the time."
            )
            moved, before = self._progress_at > before, self._progress_at
            rest_s = WAIT_S if moved else min(LONGEST_REST_S, 2 * rest_s)
            self._hold.rest(rest_s)

    def _one_pass(self) -> int:
        """How many photos lacked a vector when they were looked at, without those that cannot have one."""
        with self._parts.database.transaction() as session:
            self.photos = reindexing.count_embedded(session)
        place, lacking, self._done = reindexing.START, 0, 0
        while True:
            with self._parts.database.transaction() as session:
                page = reindexing.page(session, self._model_key, place, PAGE_PHOTOS)
            if not page.read:
                break
            wanted = [image_id for image_id in page.image_ids if image_id not in self.unreadable]
            self._done += page.read - len(wanted)
            lacking += len(wanted)
            self._fill(wanted)
            self._tell()
            place = page.last
        while self._partitions.running():
            self._collect()
        return lacking

    def _fill(self, image_ids: list[int]) -> None:
        args = self._parts.args.reindex
        for start in range(0, len(image_ids), args.partition_photos):
            while self._partitions.running() >= args.max_tasks:
                self._collect()
            if self._pause_s:
                self._hold.rest(self._pause_s)
            self._partitions.start(image_ids[start : start + args.partition_photos])

    def _collect(self) -> None:
        for result in self._partitions.finished(WAIT_S):
            if isinstance(result, AppError):
                self._put_off(result)
            else:
                self._count(result)
        self._tell()

    def _count(self, filled: Filled) -> None:
        if filled.photos:
            self._pause_s, self._progress_at = 0.0, time.monotonic()
        self.unreadable |= filled.unreadable
        self._done += filled.photos + len(filled.unreadable)

    def _put_off(self, error: AppError) -> None:
        """The partition's photos are lacking still, so that the next pass takes them."""
        if isinstance(error, ConfigurationError):
            raise error
        self._give_up_if_stuck(error.message)
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s or 1.0)
        self._parts.watcher.note(f"tried again in a moment: {error.message}")

    def _give_up_if_stuck(self, reason: str) -> None:
        if time.monotonic() - self._progress_at > PATIENCE_S:
            raise DependencyUnavailable(
                f"No photo could be filled for {PATIENCE_S / 60:g} minutes: {reason} Give the same command "
                "again to go on."
            )

    def _tell(self) -> None:
        self._hold.keep()
        self._hold.note(photos=self.photos, filled=self._done, unreadable=len(self.unreadable))
        self._parts.watcher.progress(self._done, self.photos)
