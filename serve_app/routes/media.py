"""/media/: photos behind signed addresses."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Response

from db import images
from models.errors import NotFound
from serve_app.routes.dependencies import ServicesDep

router = APIRouter(prefix="/media", tags=["photos"])


@router.get("/{image_id}/{version}", response_class=Response)
async def photo(
    image_id: Annotated[int, Path(ge=1, le=2**31 - 1)],
    version: str,
    services: ServicesDep,
    expires: int = 0,
    signature: str = "",
) -> Response:
    """The photo's bytes. Addresses come from the API and expire."""
    if not services.signer.valid(image_id, version, expires, signature):
        raise NotFound("This photo address is not valid or has expired. Ask the API for a new one.")
    image = await services.database.read(lambda session: images.photo_of(session, image_id))
    if image is None or not image.photo_sha256.startswith(version):
        raise NotFound("This photo does not exist any more.")
    data = await asyncio.to_thread(services.media.load, image.photo_key)
    headers = {"Cache-Control": "private, max-age=3600, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=image.photo_type, headers=headers)
