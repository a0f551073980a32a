"""/api/image-collection/bulk/: a whole catalogue at once."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from models.import_api import JobDetail
from models.import_job import ImportOptions
from serve_app.import_feed import refuse_early, start_import
from serve_app.import_jobs import get_import
from serve_app.routes.dependencies import HeaderCallerDep, PresenterDep, ServicesDep
from serve_app.routes.feeds import feed_body, received

router = APIRouter(prefix="/api/image-collection/bulk", tags=["photos"])

FEED_PROBLEMS: dict[int | str, dict[str, Any]] = {408: {}, 409: {}, 413: {}, 415: {}}
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x20-\x7e]+$",
        description="Sent again with the same request, it gives the same job.",
    ),
]


@router.post("/", status_code=202, responses=FEED_PROBLEMS, openapi_extra=feed_body())
async def import_photos(
    request: Request,
    response: Response,
    services: ServicesDep,
    caller: HeaderCallerDep,
    presenter: PresenterDep,
    options: Annotated[ImportOptions, Query()],
    idempotency_key: IdempotencyKey = None,
) -> JobDetail:
    """Import a feed of photos as a job. CSV, JSON, JSONL, or a ZIP of photos and one of these."""
    await refuse_early(services, caller.shop_id, idempotency_key)
    upload = await asyncio.to_thread(services.media.begin_upload)
    try:
        feed = await received(request, upload, options)
        job = await start_import(services, caller.shop_id, feed, idempotency_key)
    finally:
        await asyncio.to_thread(upload.discard)
    response.headers["Location"] = f"/api/jobs/{job.id}/"
    return presenter.job(await get_import(services, caller.shop_id, job.id or 0))
