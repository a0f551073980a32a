"""Imports as their shop sees them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from models.import_job import ImportOptions, ImportPhase
from models.job import JobKind, JobStatus


class JobCounts(BaseModel):
    """What became of the feed's rows. At the end rows = created + updated + unchanged + failed."""

    rows: int | None = Field(description="Rows of the feed; null while it is read.")
    checked: int = Field(description="Rows that were read so far.")
    created: int
    updated: int
    unchanged: int
    failed: int = Field(description="Broken rows.")
    removed: int = Field(description="Photos that a full import removed.")
    indexed: int = Field(description="New and changed photos that have their vector.")
    indexing: int = Field(description="New and changed photos that wait for it.")


class JobProblem(BaseModel):
    """Why a job failed, or what it waits for."""

    code: str
    detail: str


class JobDetail(BaseModel):
    """An import and how far it is."""

    id: int
    kind: JobKind
    status: JobStatus
    phase: ImportPhase | None = Field(description="What a running import does at the moment.")
    cancel_requested: bool
    options: ImportOptions
    file_name: str | None
    size_bytes: int
    sha256: str = Field(description="Of the file, hexadecimal.")
    counts: JobCounts
    rate_per_s: float | None = Field(description="Rows a second, or photos while they are indexed.")
    eta_s: float | None = Field(description="Seconds until it ends at that rate.")
    error: JobProblem | None
    errors: str = Field(description="Address of the broken rows.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobPage(BaseModel):
    """``next``: address of the following page, or null."""

    results: list[JobDetail]
    next: str | None


class RowProblem(BaseModel):
    """A broken row. ``line``: of the file, from 1; a record of JSON is a line."""

    line: int
    sku: str | None
    code: str
    reason: str


class RowProblemPage(BaseModel):
    """``next``: address of the following page, or null."""

    results: list[RowProblem]
    next: str | None
