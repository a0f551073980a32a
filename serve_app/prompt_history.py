"""What shoppers asked, and what they were shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from db import images, prompts
from db.prompts import Place
from models.errors import NotFound
from models.image import Image
from models.prompt import Prompt
from serve_app.services import Services


@dataclass(frozen=True)
class PromptEntry:
    """``images``: those of the shown photos that are still there, by id."""

    prompt: Prompt
    images: dict[int, Image]

    @property
    def place(self) -> Place:
        return place_of(self.prompt)


async def list_prompts(
    services: Services,
    shop_id: int,
    after: Place | None,
    span: tuple[datetime | None, datetime | None],
    limit: int,
) -> list[PromptEntry]:
    """Newest first, from the span's begin on and before its end."""

    def page(session: Session) -> list[PromptEntry]:
        return _entries(session, shop_id, prompts.newest(session, shop_id, after, span, limit))

    return await services.database.run(page)


async def get_prompt(services: Services, shop_id: int, prompt_id: UUID) -> PromptEntry:
    """Raises NotFound, for another shop's prompt too."""

    def entry(session: Session) -> list[PromptEntry]:
        found = prompts.get(session, shop_id, prompt_id)
        return _entries(session, shop_id, [found] if found is not None else [])

    entries = await services.database.run(entry)
    if not entries:
        raise NotFound(f"There is no prompt {prompt_id} in this shop.")
    return entries[0]


def place_of(prompt: Prompt) -> Place:
    if prompt.created_at is None:
        raise AssertionError("a stored prompt has a time")
    return Place(prompt.created_at, prompt.id)


def _entries(session: Session, shop_id: int, found: list[Prompt]) -> list[PromptEntry]:
    shown = {image_id for prompt in found for image_id in prompt.result_ids}
    living = images.living(session, shop_id, shown)
    return [PromptEntry(prompt, living) for prompt in found]
