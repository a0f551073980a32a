"""What a shop sees of itself, and of its deletion."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.job import JobStatus
from models.shop import ShopStatus


class EffectiveLimits(BaseModel):
    """The limits that apply to the shop; null is no limit."""

    requests_per_minute: int | None
    key_requests_per_minute: int | None = Field(description="Of each key that has no limit of its own.")
    prompts_per_day: int | None
    photos: int | None


class ShopFloor(BaseModel):
    """From which score on a photo answers a prompt."""

    floor: float | None = Field(
        description="Null while there is none: too few photos, or names that tell the model nothing."
    )
    model: str = Field(description="Whose scores these are.")
    computed_at: datetime = Field(description="It follows the catalogue, some seconds later.")


class ShopDetail(BaseModel):
    """The caller's own shop."""

    id: int
    name: str
    email: str
    status: ShopStatus
    created_at: datetime
    activated_at: datetime | None
    limits: EffectiveLimits
    score_floor: ShopFloor | None = Field(description="Null before the first photos were indexed.")
    text_weight: float = Field(description="Share of name and description in an item's vector, in [0, 1].")
    reindexing: int = Field(description="Photos that are still found by a former text_weight.")


class ShopChange(BaseModel):
    """What a shop sets itself."""

    model_config = ConfigDict(extra="forbid")

    text_weight: Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)] = Field(
        description="Share of name and description in an item's vector; 0: the photo alone.", examples=[0.2]
    )


class DeletionAccepted(BaseModel):
    """The shop is closed; its data goes in the background."""

    job_id: int
    status: JobStatus
    report: str = Field(description="Signed address of the report; no key is needed. Valid for 30 days.")


class DeletionReport(BaseModel):
    """How far a shop's removal is. ``removed`` is complete once ``status`` is ``succeeded``."""

    job_id: int
    status: JobStatus
    requested_at: datetime
    finished_at: datetime | None
    removed: dict[str, int]
