"""/api/prompts/: the log of the shop's prompts."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from models.moments import Moment
from models.prompt_api import PromptDetail, PromptPage
from serve_app.paging import decode_place, encode_place
from serve_app.prompt_history import get_prompt, list_prompts
from serve_app.routes.dependencies import CallerDep, PresenterDep, ServicesDep

router = APIRouter(prefix="/api/prompts", tags=["prompts"])


@router.get("/")
async def list_all(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    presenter: PresenterDep,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    since: Annotated[Moment | None, Query(description="Logged then or later.")] = None,
    until: Annotated[Moment | None, Query(description="Logged before.")] = None,
) -> PromptPage:
    """List what was asked and shown, newest first. Follow `next` until it is null."""
    after = decode_place(cursor)
    entries = await list_prompts(services, caller.shop_id, after, (since, until), limit + 1)
    following = None
    if len(entries) > limit:
        cursor = encode_place(entries[limit - 1].place)
        following = presenter.absolute(request.url.include_query_params(cursor=cursor))
    return PromptPage(results=[presenter.prompt(entry) for entry in entries[:limit]], next=following)


@router.get("/{prompt_id}/")
async def read(
    prompt_id: UUID, services: ServicesDep, caller: CallerDep, presenter: PresenterDep
) -> PromptDetail:
    """Read one prompt with its results."""
    return presenter.prompt(await get_prompt(services, caller.shop_id, prompt_id))
