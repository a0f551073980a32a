"""Reports of what shoppers did with the photos that they were shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.event import EventKind
from models.filter_api import Closed, Id


class EventRequest(Closed):
    """One act on one photo of one answer."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt_id": "451c1946-4fab-4fb9-ad2b-6a9c7c2d88bd",
                    "ImageID": 17,
                    "event": "click",
                    "position": 2,
                }
            ]
        },
    )

    api_key: str | None = Field(default=None, description="Instead of an Authorization or X-API-Key header.")
    prompt_id: UUID = Field(description="Of the answer that showed the photo.")
    ImageID: Id = Field(description="A recommended photo, or a variant or near-duplicate of one.")
    event: EventKind
    position: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = Field(
        default=None, description="Where the shopper saw it, 1 is the best. Left out: its rank in the answer."
    )


class EventPublic(BaseModel):
    """The event as it is stored."""

    prompt_id: UUID
    ImageID: int
    event: EventKind
    position: int
    created_at: datetime
