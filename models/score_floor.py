"""The similarity that chance alone reaches in a shop's catalogue."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, timestamp


class ScoreFloor(SQLModel, table=True):
    """Of one shop under one model. ``revision`` counts changes of the catalogue; while ``computed_revision``
    differs, the floor is of an older one. ``floor`` is None before the first calibration."""

    __tablename__ = "score_floor"
    __table_args__ = (
        Index(
            "ix_score_floor_work",
            "changed_at",
            postgresql_where=text("revision <> computed_revision"),
        ),
    )

    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE", primary_key=True)
    model_key: str = Field(max_length=250, primary_key=True)
    floor: float | None = None
    revision: int = Field(default=0)
    computed_revision: int = Field(default=0)
    lease_token: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = Field(default=None, sa_column=timestamp())
    changed_at: datetime | None = Field(default=None, sa_column=created_at_column())
    computed_at: datetime | None = Field(default=None, sa_column=timestamp())
