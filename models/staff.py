"""The people who run the service, their sessions, and what they did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, timestamp


class Staff(SQLModel, table=True):
    """A person who runs the service."""

    id: int | None = Field(default=None, primary_key=True)
    email: str = Field(max_length=320, unique=True)
    password_hash: str = Field(max_length=250, description="argon2id, with its parameters")
    active: bool = Field(default=True)
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    last_login_at: datetime | None = Field(default=None, sa_column=timestamp())


class StaffSession(SQLModel, table=True):
    """A login. Its token is known to the browser or client only."""

    __tablename__ = "staff_session"

    id: int | None = Field(default=None, primary_key=True)
    staff_id: int = Field(foreign_key="staff.id", ondelete="CASCADE", index=True)
    token_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    expires_at: datetime = Field(sa_column=timestamp())


class AuditEntry(SQLModel, table=True):
    """What a member of staff did. Outlives the person's account and the thing it was done to."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_created_at", "created_at"),)

    id: int | None = Field(default=None, primary_key=True)
    staff_id: int | None = Field(default=None, foreign_key="staff.id", ondelete="SET NULL")
    staff_email: str = Field(max_length=320)
    action: str = Field(max_length=64, description="e.g. category.delete")
    target: str = Field(default="", max_length=250, description="What it was done to, e.g. its id")
    details: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
