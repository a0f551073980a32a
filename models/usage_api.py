"""What a shop has and used."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, Field

from models.own_shop_api import EffectiveLimits


class StorageUsage(BaseModel):
    photo_bytes: int
    vectors: int
    vector_bytes: int


class PromptFigures(BaseModel):
    """Milliseconds spent on embedding and searching; null where there were no prompts."""

    prompts: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None


class DayUsage(PromptFigures):
    day: date = Field(description="UTC.")


class Usage(BaseModel):
    """Figures of the shop. The period is whole UTC days, the last of them today."""

    since: date
    until: date
    photos: dict[str, int] = Field(description="By status; those being deleted are not counted.")
    storage: StorageUsage
    prompts_today: int
    period: PromptFigures
    days: list[DayUsage] = Field(description="Oldest first; days without prompts included.")
    limits: EffectiveLimits
