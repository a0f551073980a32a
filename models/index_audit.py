"""What the last comparison of one collection with PostgreSQL found."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import timestamp


class Finding(StrEnum):
    """What can be wrong with one photo in the search index.

    ``stale``: its SHA-256 or its terms are not the photo's. ``different``: its vector is not PostgreSQL's.
    ``unreachable``: it is there, but its own vector does not find it. ``damaged``: PostgreSQL itself has no
    usable vector of it.
    """

    MISSING = "missing"
    ORPHANED = "orphaned"
    STALE = "stale"
    DIFFERENT = "different"
    UNREACHABLE = "unreachable"
    DAMAGED = "damaged"


class IndexAudit(SQLModel, table=True):
    """One collection of the search index, and the lease of the worker that compares it."""

    __tablename__ = "index_audit"
    __table_args__ = (Index("ix_index_audit_audited", "audited_at"),)

    version_id: int = Field(foreign_key="index_version.id", ondelete="CASCADE", primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE", primary_key=True)
    found: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    repaired: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    lease_token: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = Field(default=None, sa_column=timestamp())
    audited_at: datetime | None = Field(default=None, sa_column=timestamp())
