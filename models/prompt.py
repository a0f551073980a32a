"""The log of shoppers' prompts and what they were shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Float, Index, Integer, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from models.columns import created_at_column


def normalised(prompt: str) -> str:
    """What prompts are counted by: case folded, runs of white space as one blank."""
    return " ".join(prompt.split()).casefold()


class Prompt(SQLModel, table=True):
    """One answered recommendation request (the seed's Prompt_API)."""

    __table_args__ = (
        Index("ix_prompt_shop_created", "shop_id", "created_at"),
        Index("ix_prompt_created_at", "created_at"),  # the admin's list, over all shops
        Index("ix_prompt_api_key_id", "api_key_id"),  # else deleting a key reads the whole table
    )

    id: UUID = Field(primary_key=True)
    shop_id: int = Field(foreign_key="shop.id", ondelete="CASCADE")
    api_key_id: int | None = Field(default=None, foreign_key="api_key.id", ondelete="SET NULL")
    prompt: str = Field(
        sa_column=Column(Text, nullable=False), description="Empty where none was sent, or several."
    )
    normalised: str = Field(
        default="",
        sa_column=Column(Text, nullable=False, server_default=""),
        description="What counts as the same prompt; filled when it is logged.",
    )
    query: dict[str, Any] = Field(
        default_factory=dict,
        sa_column=Column(JSONB, nullable=False, server_default="{}"),
        description="What of the request was neither prompt nor filter, photos' bytes left out.",
    )
    number_recommended: int
    filters: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    result_ids: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))
    also_shown: dict[str, int] = Field(
        default_factory=dict,
        sa_column=Column(JSONB, nullable=False, server_default="{}"),
        description="Variants and near-duplicates: by photo id, the rank of the place that it belongs to.",
    )
    scores: list[float] = Field(sa_column=Column(ARRAY(Float), nullable=False))
    no_match: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    model_key: str = Field(max_length=250)
    duration_ms: float
    created_at: datetime | None = Field(default=None, sa_column=created_at_column())

    @property
    def offset(self) -> int:
        """How many of the best were skipped."""
        return int(self.query.get("offset", 0))

    def rank_of(self, image_id: int) -> int | None:
        """Where the answer showed the photo, itself or beside another: from 1, over all pages. Or None."""
        if image_id in self.result_ids:
            return self.offset + self.result_ids.index(image_id) + 1
        return self.also_shown.get(str(image_id))
