"""What shoppers did with the photos that they were shown."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, text_enum


class EventKind(StrEnum):
    CLICK = "click"
    ADD_TO_CART = "add_to_cart"
    PURCHASE = "purchase"


class Event(SQLModel, table=True):
    """One kind of act on one photo of one answer; a repeated report is the same event."""

    __table_args__ = (
        UniqueConstraint("prompt_id", "image_id", "kind", name="uq_event"),
        Index("ix_event_shop_created", "shop_id", "created_at"),
        Index("ix_event_shop", "shop_id", "id"),  # the export's pages
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, primary_key=True))
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE")
    prompt_id: UUID = Field(foreign_key="prompt.id", ondelete="CASCADE")
    image_id: int = Field(description="No foreign key: the figures stay when the photo goes.")
    kind: EventKind = Field(sa_column=text_enum(EventKind))
    position: int = Field(description="1 is the best.")
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())
