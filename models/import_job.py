"""What an import job is asked for, and how far it is: the shapes of ``Job.request`` and ``Job.counts``."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

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


class ImportOptions(BaseModel):
    """How a feed is imported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: FeedMode = Field(
        default=FeedMode.INCREMENTAL,
        description="`full`: photos whose sku the feed does not have are removed.",
    )
    on_error: OnError = Field(
        default=OnError.SKIP_ROWS,
        description="What a broken row does to the others. `reject_all`: nothing is stored.",
    )
    confirm_removal: bool = Field(
        default=False, description="Needed where a full import removes a large share of the photos."
    )
    format: FeedFormat = Field(
        default=FeedFormat.AUTO, description="`auto`: by media type, file name and first bytes."
    )
    auto_tag: bool = Field(
        default=False, description="For rows that do not say: fill in the terms that are left out."
    )


class ImportRequest(ImportOptions):
    """``source``: the feed's key in the media store. ``media_type``, ``file_name``: the client's words."""

    source: str
    size_bytes: int
    sha256: str
    media_type: str | None = None
    file_name: str | None = None

    @property
    def keeps_fetched(self) -> bool:
        """Photos are fetched to be checked before anything is stored, and kept until then."""
        return self.on_error is OnError.REJECT_ALL


class ImportCounts(BaseModel):
    """``total``: rows of the feed, None while it is read. At the end the outcomes add up to it.

    ``checked``: rows that the first phase has read. ``photos``: new and changed ones, which get a vector.
    ``rows_per_s``: of the present phase, while it works.
    """

    model_config = ConfigDict(extra="forbid")

    total: int | None = None
    checked: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    photos: int = 0
    removed: int = 0
    rows_per_s: float | None = None

    @property
    def settled(self) -> int:
        """Rows whose outcome is certain."""
        return self.created + self.updated + self.unchanged + self.failed
