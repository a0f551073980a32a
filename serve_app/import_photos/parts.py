"""What the work of an import needs, and how it ends early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from configs.serving import FetchArgs, ImportArgs, IndexerArgs
from db.media import MediaStore
from db.session import Database
from models.feed import BrokenRow, FeedRow
from models.import_job import ImportRequest
from serve_app.feeds.limits import FeedLimits
from serve_app.feeds.read_feed import read_feed
from serve_app.photo_quota import PhotoQuota
from serve_app.photos import PhotoLimits

Row = FeedRow | BrokenRow


@dataclass(frozen=True)
class ImportParts:
    """Built once per process."""

    database: Database
    media: MediaStore
    quota: PhotoQuota
    photos: PhotoLimits
    args: ImportArgs
    fetch: FetchArgs
    indexer: IndexerArgs

    @contextmanager
    def rows_of(self, request: ImportRequest) -> Iterator[Iterator[Row]]:
        """The feed from its beginning, read as it is asked for. Raises FeedUnreadable at any row."""
        limits = FeedLimits(self.args.max_bytes, self.args.max_rows, self.photos.max_bytes)
        with self.media.open(request.source) as source:
            yield read_feed(
                source,
                request.format,
                filename=request.file_name or "",
                media_type=request.media_type or "",
                limits=limits,
            )


class Step(StrEnum):
    """What is done with a batch of rows. ``check``: all that could go wrong is found out, nothing stored."""

    CHECK = "check"
    STORE = "store"


@dataclass(frozen=True)
class Batch:
    """Rows that are worked on together. ``keep_files``: fetched photos are kept for the other step."""

    step: Step
    rows: list[FeedRow]
    keep_files: bool = False


@dataclass(frozen=True)
class BatchResult:
    """How many rows had which outcome; ``kept_bytes``: of fetched photos."""

    outcomes: dict[str, int] = field(default_factory=dict)
    photos: int = 0
    kept_bytes: int = 0


class Batches(Protocol):
    """Carries out batches, several at once, somewhere."""

    def start(self, batch: Batch) -> None: ...

    def running(self) -> int: ...

    def finished(self, timeout_s: float) -> list[BatchResult]:
        """Those that are done, once there are any or the time is over.

        Raises what a batch raised, BatchLost where its process died.
        """
        ...


class BatchLost(Exception):
    """The process that worked on a batch died."""


class LeaseLost(Exception):
    """Another worker has the job by now."""


class Interrupted(Exception):
    """The shop wants the job cancelled, or another shop has its turn."""


class Moved(Exception):
    """What a batch was prepared for has changed meanwhile: prepare it again."""
