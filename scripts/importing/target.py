"""Where an import goes, over HTTP or directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from models.import_api import JobDetail
from models.import_job import ImportOptions
from scripts.importing.feed_source import FeedSource

Sent = Callable[[int], None]


class ImportTarget(Protocol):
    """Every method raises AppError: what is wrong, or that nobody answers."""

    def send(self, source: FeedSource, options: ImportOptions, sent: Sent) -> JobDetail:
        """The new job. ``sent`` is called with the number of bytes that are on their way so far."""

    def read(self, job_id: int) -> JobDetail:
        """How far it is."""

    def errors(self, job_id: int) -> Iterator[bytes]:
        """Its broken rows as CSV, in chunks."""


def counted(chunks: Iterator[bytes], sent: Sent) -> Iterator[bytes]:
    """The chunks, once they are asked for."""
    total = 0
    for chunk in chunks:
        yield chunk
        total += len(chunk)
        sent(total)
