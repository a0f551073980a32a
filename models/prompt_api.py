"""The log of prompts (the seed's Prompt_API), as its shop reads it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class ShownImage(BaseModel):
    """The photo as it is now."""

    sku: str
    name: str
    Photo: str = Field(description="Signed address of the photo; it expires.")


class PromptResult(BaseModel):
    """A photo that was shown."""

    ImageID: int
    score: float
    rank: int
    image: ShownImage | None = Field(description="Null where the photo was deleted since.")


class PromptDetail(BaseModel):
    """One answered recommendation request."""

    prompt_id: UUID
    prompt: str = Field(description="Empty where none was sent, or several.")
    query: dict[str, Any] = Field(
        description="What else was looked for, and how: options, parts, a sent photo's sha256."
    )
    no_match: bool = Field(description="True where nothing in the catalogue answered.")
    number_recommended: int = Field(description="How many photos were asked for.")
    filters: dict[str, Any]
    model: str = Field(description="Key of the model that compared prompt and photos.")
    duration_ms: float
    key_id: int | None
    created_at: datetime
    results: list[PromptResult] = Field(description="Best first.")


class PromptPage(BaseModel):
    """One page, newest first; ``next`` is the address of the following one."""

    results: list[PromptDetail]
    next: str | None
