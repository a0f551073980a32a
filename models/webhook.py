"""The outbox of webhooks: messages that are to be posted to shops, and those that were."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Column, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum, timestamp


class DeliveryStatus(StrEnum):
    """queued → sent | failed."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"


class WebhookDelivery(SQLModel, table=True):
    """One message (Standard Webhooks). ``id`` stays the same at each attempt."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_work", "created_at", postgresql_where=text("status = 'queued'")),
        Index("ix_webhook_delivery_shop", "shop_id", "created_at"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE")
    job_id: int | None = None
    event: str = Field(max_length=64)
    payload: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    status: DeliveryStatus = Field(default=DeliveryStatus.QUEUED, sa_column=text_enum(DeliveryStatus))
    attempts: int = Field(default=0)
    lease_token: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = Field(default=None, sa_column=timestamp())
    error: str | None = Field(default=None, max_length=1000)
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
    sent_at: datetime | None = Field(default=None, sa_column=timestamp())
