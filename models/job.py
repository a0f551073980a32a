"""Longer work in the background, as its owner sees it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum, timestamp


class JobKind(StrEnum):
    DELETE_SHOP = "delete_shop"


class JobStatus(StrEnum):
    """queued → running → succeeded | failed | cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(SQLModel, table=True):
    """One piece of durable work. ``shop_id`` is no foreign key: a deleted shop's report stays."""

    __table_args__ = (
        Index("ix_job_work", "id", postgresql_where=text("status IN ('queued', 'running')")),
        Index("ix_job_shop_id", "shop_id"),
    )

    id: int | None = Field(default=None, primary_key=True)
    shop_id: int | None = None
    kind: JobKind = Field(sa_column=text_enum(JobKind))
    status: JobStatus = Field(default=JobStatus.QUEUED, sa_column=text_enum(JobStatus))
    counts: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    attempts: int = Field(default=0)
    lease_token: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = Field(default=None, sa_column=timestamp())
    error: str | None = Field(default=None, max_length=1000)
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    started_at: datetime | None = Field(default=None, sa_column=timestamp())
    finished_at: datetime | None = Field(default=None, sa_column=timestamp())
