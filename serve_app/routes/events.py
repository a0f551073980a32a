"""/api/events/: what shoppers did with what they were shown."""

from __future__ import annotations

from fastapi import APIRouter, Response

from models.event import Event
from models.event_api import EventPublic, EventRequest
from serve_app.report_event import report_event
from serve_app.routes.dependencies import ServicesDep, ShopperDep

router = APIRouter(prefix="/api/events", tags=["insight"])


KNOWN = {"model": EventPublic, "description": "Reported before: nothing has changed."}


@router.post("/", status_code=201, responses={200: KNOWN, 404: {}})
async def create(
    body: EventRequest, response: Response, services: ServicesDep, caller: ShopperDep
) -> EventPublic:
    """Report a click, an addition to the cart or a purchase. The same report again is the same event."""
    event, is_new = await report_event(services, caller.shop_id, body)
    response.status_code = 201 if is_new else 200
    return _public(event)


def _public(event: Event) -> EventPublic:
    return EventPublic(
        ImageID=event.image_id,
        event=event.kind,
        **event.model_dump(include={"prompt_id", "position", "created_at"}),
    )
