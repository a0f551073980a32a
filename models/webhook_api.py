"""A shop's webhook, as the shop sees it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.webhook import DeliveryStatus


class WebhookFields(BaseModel):
    """Where messages are to go."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        max_length=2048,
        description="An https:// address that is reached from the internet.",
        examples=["https://shop.example/hooks/search"],
    )


class WebhookSet(BaseModel):
    """The webhook with its secret, which is shown in this answer and never again."""

    url: str
    secret: str = Field(description="`whsec_…`: what libraries of Standard Webhooks verify messages with.")


class Delivery(BaseModel):
    """One message, and what became of it."""

    id: UUID = Field(description="The message's `webhook-id`, the same at each attempt.")
    event: str = Field(examples=["import.succeeded"])
    job_id: int | None = Field(description="The job that it tells of.")
    status: DeliveryStatus = Field(description="`queued`: it is posted, or will be again.")
    attempts: int
    error: str | None = Field(description="Why the last attempt failed.")
    created_at: datetime
    sent_at: datetime | None


class WebhookDetail(BaseModel):
    """``url`` is null where the shop has none."""

    url: str | None
    deliveries: list[Delivery] = Field(description="The newest 20 of the last 30 days.")
