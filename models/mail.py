"""The outbox: mails that are to be sent, and those that were."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum, timestamp


class MailKind(StrEnum):
    """Which template. ``activation``: a new shop's first keys. ``recovery``: new keys of an active shop."""

    ACTIVATION = "activation"
    RECOVERY = "recovery"


class MailStatus(StrEnum):
    """queued → sent | failed. ``cancelled``: what it announces has no use any more."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Mail(SQLModel, table=True):
    """One mail. Its text, with the link's token, is made when it is sent and never stored."""

    __table_args__ = (
        Index("ix_mail_work", "id", postgresql_where=text("status = 'queued'")),
        Index("ix_mail_recipient_created", "recipient", "created_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE", index=True)
    link_id: int = Field(foreign_key="signup_link.id", ondelete="CASCADE", index=True)
    kind: MailKind = Field(sa_column=text_enum(MailKind))
    recipient: str = Field(max_length=320)
    status: MailStatus = Field(default=MailStatus.QUEUED, sa_column=text_enum(MailStatus))
    attempts: int = Field(default=0)
    lease_token: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = Field(default=None, sa_column=timestamp())
    error: str | None = Field(default=None, max_length=1000)
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    sent_at: datetime | None = Field(default=None, sa_column=timestamp())
