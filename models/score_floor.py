"""The similarity below which a photo of a shop does not answer a prompt."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

from models.columns import created_at_column, timestamp


class ScoreFloor(SQLModel, table=True):
    """Of one shop under one model. ``revision`` counts changes of the catalogue; while ``computed_revision``
    differs, the floor is of an older one, and ``behind_since`` says since when. ``floor`` is None before the
    first calibration, and where none can be told: few photos, or names that mean nothing to the model.
    """

    __tablename__ = "score_floor"
    __table_args__ = (
        Index(
            "ix_score_floor_work",
            "behind_since",
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
    behind_since: datetime | None = Field(default=None, sa_column=created_at_column())
    computed_at: datetime | None = Field(default=None, sa_column=timestamp())
