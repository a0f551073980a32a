"""What an import job is asked for, and how far it is: the shapes of ``Job.request`` and ``Job.counts``."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from models.feed import FeedFormat, FeedMode, OnError


class ImportPhase(StrEnum):
    """checking → storing → removing (full) → indexing; failing from any of the first three.

    ``indexing``: everything is stored, and photos wait for their vectors. ``failing``: ``Job.error`` says
    why, and what is left is to clean up.
    """

    CHECKING = "checking"
    STORING = "storing"
    REMOVING = "removing"
    INDEXING = "indexing"
    FAILING = "failing"


class ImportRequest(BaseModel):
    """``file_name`` and ``media_type`` are what the client said of the body; ``auto_tag``: for new photos."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: FeedFormat = FeedFormat.AUTO
    mode: FeedMode = FeedMode.INCREMENTAL
    on_error: OnError = OnError.SKIP_ROWS
    confirm_removal: bool = False
    auto_tag: bool = False
    file_name: str | None = None
    media_type: str | None = None


class ImportCounts(BaseModel):
    """``total``: rows of the feed, None while it is read. The outcomes add up to it at the end.

    ``checked``: rows that the first phase has read. ``rows_per_s``: of the present phase, while it works.
    """

    model_config = ConfigDict(extra="forbid")

    total: int | None = None
    checked: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    removed: int = 0
    rows_per_s: float | None = None

    @property
    def settled(self) -> int:
        """Rows whose outcome is certain."""
        return self.created + self.updated + self.unchanged + self.failed
