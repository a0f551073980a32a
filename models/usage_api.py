"""What a shop has and used."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from models.own_shop_api import EffectiveLimits


class StorageUsage(BaseModel):
    photo_bytes: int
    vectors: int
    vector_bytes: int


Milliseconds = Annotated[float, AfterValidator(lambda value: round(value, 2))]


class PromptFigures(BaseModel):
    """Milliseconds spent on embedding and searching; null where there were no prompts."""

    prompts: int
    mean_ms: Milliseconds | None
    p50_ms: Milliseconds | None
    p95_ms: Milliseconds | None


class _Day(BaseModel):
    day: date = Field(description="UTC.")


class DayUsage(PromptFigures, _Day):
    """One day. Pydantic takes the fields of the last base first."""


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
