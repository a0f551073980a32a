"""Batches in flight: no more than the job may have, their results counted as they come."""

from __future__ import annotations

from serve_app.import_photos.parts import Batch, Batches, ImportParts
from serve_app.import_photos.progress import Progress

WAIT_S = 0.5


class Teamwork:
    """Starts batches and waits for them; the lease is kept meanwhile."""

    def __init__(self, parts: ImportParts, batches: Batches, progress: Progress) -> None:
        self._parts, self._batches, self._progress = parts, batches, progress

    def start(self, batch: Batch) -> int:
        """Once there is room. Returns the bytes that batches which ended meanwhile kept."""
        kept_bytes = 0
        while self._batches.running() >= self._parts.args.max_tasks:
            kept_bytes += self._collect()
        self._batches.start(batch)
        return kept_bytes

    def wait_for_all(self) -> None:
        while self._batches.running():
            self._collect()
        self._progress.save()

    def drain(self) -> None:
        """Let what runs end, whoever has the next turn: it is counted in PostgreSQL."""
        while self._batches.running():
            for result in self._batches.finished(WAIT_S):
                self._progress.note(result)
            self._progress.prolong()

    def _collect(self) -> int:
        results = self._batches.finished(WAIT_S)
        for result in results:
            self._progress.note(result)
        self._progress.keep()
        return sum(result.kept_bytes for result in results)
