"""Longer work in the background, as its owner sees it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSON, JSONB
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum, timestamp
from models.import_job import ImportPhase


class JobKind(StrEnum):
    DELETE_SHOP = "delete_shop"
    IMPORT = "import"
    REINDEX = "reindex"


class JobStatus(StrEnum):
    """queued → running → succeeded | failed | cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(SQLModel, table=True):
    """One piece of durable work. ``shop_id`` is no foreign key: a deleted shop's report stays.

    ``request`` is what was asked for, ``counts`` what was done so far. ``served_at``: when a worker last
    gave it back, so that long jobs take turns.
    """

    __table_args__ = (
        Index("ix_job_work", "id", postgresql_where=text("status IN ('queued', 'running')")),
        Index("ix_job_shop_id", "shop_id"),
        Index(
            "uq_job_idempotency",
            "shop_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    shop_id: int | None = None
    kind: JobKind = Field(sa_column=text_enum(JobKind))
    status: JobStatus = Field(default=JobStatus.QUEUED, sa_column=text_enum(JobStatus))
    request: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    counts: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    attempts: int = Field(default=0)
    lease_token: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = Field(default=None, sa_column=timestamp())
    error: str | None = Field(default=None, max_length=1000)
    error_code: str | None = Field(default=None, max_length=64, description="Of the AppError behind error.")
    phase: ImportPhase | None = Field(default=None, sa_column=text_enum(ImportPhase, nullable=True))
    cancel_requested: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    idempotency_key: str | None = Field(default=None, max_length=200)
    request_sha256: str | None = Field(
        default=None, max_length=64, description="Of the request behind idempotency_key."
    )
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    started_at: datetime | None = Field(default=None, sa_column=timestamp())
    served_at: datetime | None = Field(default=None, sa_column=timestamp())
    finished_at: datetime | None = Field(default=None, sa_column=timestamp())


class JobError(SQLModel, table=True):
    """What is wrong with one row of an import. ``row``: its cells as the file has them, by column.

    JSON, not JSONB, which would forget the order of the columns.
    """

    __tablename__ = "job_error"
    __table_args__ = (UniqueConstraint("job_id", "line", name="uq_job_error_line"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    job_id: int = Field(foreign_key="job.id", ondelete="CASCADE")
    line: int
    sku: str | None = Field(default=None, max_length=250)
    code: str = Field(max_length=64)
    reason: str = Field(sa_column=Column(Text, nullable=False))
    row: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class RowOutcome(StrEnum):
    """What became of one row of an import; none yet: null. ``duplicate``: its sku stands before it."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    DUPLICATE = "duplicate"


class ImportRow(SQLModel, table=True):
    """One row of an import. It is settled in the transaction that stores its photo: so a job that is carried
    on after a crash skips it, and its counts are exact. ``line``: of the file, from 1.

    ``sku`` is null for a row that has none, and for a duplicate. ``image_id`` is set aside for a new photo
    before its file is written, so that a repeated attempt writes the same file. ``checked``: its photo was
    looked at before anything is stored. ``new_photo``: one was stored, which gets a vector.
    """

    __tablename__ = "import_row"
    __table_args__ = (UniqueConstraint("job_id", "sku", name="uq_import_row_sku"),)

    job_id: int = Field(foreign_key="job.id", ondelete="CASCADE", primary_key=True)
    line: int = Field(primary_key=True)
    sku: str | None = Field(default=None, max_length=250)
    image_id: int | None = None
    checked: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    new_photo: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    outcome: RowOutcome | None = Field(default=None, sa_column=text_enum(RowOutcome, nullable=True))
