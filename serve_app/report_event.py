"""What a shopper did with a photo of an answer."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db import events, prompts
from models.errors import InvalidInput, NotFound
from models.event import Event
from models.event_api import EventRequest
from models.prompt import Prompt
from serve_app.services import Services


async def report_event(services: Services, shop_id: int, request: EventRequest) -> tuple[Event, bool]:
    """The stored event, and whether it is new. Raises NotFound, InvalidInput, NotAuthenticated, TooBusy."""

    def store(session: Session) -> tuple[Event, bool] | None:
        prompt = prompts.get(session, shop_id, request.prompt_id)
        return None if prompt is None else events.add(session, _event(prompt, request))

    found = await services.prompt_log.wait_for(shop_id, lambda: services.database.run(store))
    if found is None:
        raise NotFound(
            f"There is no prompt {request.prompt_id} in this shop. Send the prompt_id of the recommendations "
            "that the photo was shown with."
        ).at("/prompt_id")
    return found


def _event(prompt: Prompt, request: EventRequest) -> Event:
    rank = prompt.rank_of(request.ImageID)
    if rank is None:
        raise InvalidInput(
            f"Photo {request.ImageID} was not shown for prompt {prompt.id}. Send the ImageID of one of its "
            "recommendations, variants or near_duplicates."
        ).at("/ImageID")
    last = prompt.offset + len(prompt.result_ids) + len(prompt.also_shown)
    if request.position is not None and request.position > last:
        raise InvalidInput(
            f"position is {request.position}, but the answer's last photo was number {last}. Count from 1, "
            "over all pages, or leave the field out."
        ).at("/position")
    return Event(
        shop_id=prompt.shop_id,
        prompt_id=prompt.id,
        image_id=request.ImageID,
        kind=request.event,
        position=request.position or rank,
    )
