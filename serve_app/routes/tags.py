"""/api/tags/: the names that fit a photo."""

from __future__ import annotations

from fastapi import APIRouter, Request

from models.tag_api import TagRequest, Tags
from serve_app.routes.bodies import body_fields, form_or_json, photo_bytes, validated
from serve_app.routes.dependencies import CallerDep, ServicesDep
from serve_app.tag_photo import tag_photo

router = APIRouter(prefix="/api/tags", tags=["tags"])


@router.post("/", responses={404: {}, 409: {}, 413: {}, 415: {}}, openapi_extra=form_or_json(TagRequest))
async def create(request: Request, services: ServicesDep, caller: CallerDep) -> Tags:
    """Score a photo against the categories, styles and age groups, or against own labels.

    The photo is `Photo` or, for one of the shop's, `image_id`. Nothing is stored.
    """
    body = await body_fields(request)
    return await tag_photo(services, caller.shop_id, validated(TagRequest, body), await photo_bytes(body))
