"""/api/image-collection/: the shop's photos."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from db import images
from models.image_api import ImageChanges, ImageDetail, ImageFields, ImagePage
from serve_app.add_image import (
    add_image,
    change_image,
    delete_image,
    get_image,
    retry_image,
    wait_until_indexed,
)
from serve_app.paging import decode_cursor, encode_cursor
from serve_app.routes.bodies import body_fields, form_or_json, photo_bytes, required_photo, validated
from serve_app.routes.dependencies import CallerDep, PresenterDep, ServicesDep

router = APIRouter(prefix="/api/image-collection", tags=["photos"])

ImageId = Annotated[int, Path(ge=1, le=2**31 - 1)]
PHOTO_PROBLEMS: dict[int | str, dict[str, Any]] = {409: {}, 413: {}, 415: {}}
LONGEST_WAIT_S = 60
WaitS = Annotated[
    float,
    Query(alias="wait", ge=0, le=LONGEST_WAIT_S, description="Seconds to wait until it is embedded."),
]


@router.post("/", status_code=201, responses=PHOTO_PROBLEMS, openapi_extra=form_or_json(ImageFields))
async def create(
    request: Request,
    response: Response,
    services: ServicesDep,
    caller: CallerDep,
    presenter: PresenterDep,
    wait_s: WaitS = 0.0,
) -> ImageDetail:
    """Upload a photo with its metadata. It is found by prompts once its status is `embedded`."""
    body = await body_fields(request)
    fields = validated(ImageFields, body)
    row = await add_image(services, caller, fields, await required_photo(body))
    row = await wait_until_indexed(services, row, wait_s)
    response.headers["Location"] = f"/api/image-collection/{row.image_id}/"
    return presenter.detail(row)


@router.get("/")
async def list_images(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    presenter: PresenterDep,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    warnings: Annotated[bool, Query(description="Only photos that have warnings.")] = False,
) -> ImagePage:
    """List the shop's photos, newest first. Follow `next` until it is null."""
    after = decode_cursor(cursor)
    page = partial(
        images.list_page, shop_id=caller.shop_id, after_id=after, limit=limit + 1, only_warned=warnings
    )
    rows = await services.database.read(page)
    following = None
    if len(rows) > limit:
        following = presenter.absolute(
            request.url.include_query_params(cursor=encode_cursor(rows[limit - 1].image_id))
        )
    return ImagePage(results=[presenter.detail(row) for row in rows[:limit]], next=following)


@router.get("/{image_id}/")
async def read(
    image_id: ImageId, services: ServicesDep, caller: CallerDep, presenter: PresenterDep
) -> ImageDetail:
    """Read one photo with its index state."""
    return presenter.detail(await get_image(services, caller.shop_id, image_id))


@router.patch("/{image_id}/", responses=PHOTO_PROBLEMS, openapi_extra=form_or_json(ImageChanges))
async def update(
    request: Request,
    image_id: ImageId,
    services: ServicesDep,
    caller: CallerDep,
    presenter: PresenterDep,
    wait_s: WaitS = 0.0,
) -> ImageDetail:
    """Change a photo's given fields. Metadata alone is never embedded again."""
    body = await body_fields(request)
    changes = validated(ImageChanges, body)
    row = await change_image(services, caller.shop_id, image_id, changes, await photo_bytes(body))
    return presenter.detail(await wait_until_indexed(services, row, wait_s))


@router.delete("/{image_id}/", status_code=204)
async def remove(image_id: ImageId, services: ServicesDep, caller: CallerDep) -> None:
    """Remove a photo. No answer shows it from now on."""
    await delete_image(services, caller.shop_id, image_id)


@router.post("/{image_id}/retry/", status_code=202)
async def retry(
    image_id: ImageId, services: ServicesDep, caller: CallerDep, presenter: PresenterDep
) -> ImageDetail:
    """Queue a photo whose status is `failed` again."""
    return presenter.detail(await retry_image(services, caller.shop_id, image_id))
