"""The FastAPI application: routers, middleware, error handlers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from models.errors import AppError
from serve_app.admin.site import mount_admin
from serve_app.cors import Preflight
from serve_app.live_version import LiveVersion
from serve_app.middleware import BodyLimit, FormCharset, RequestContext, ResponseHeaders, TrailingSlash
from serve_app.openapi import DescribedApi
from serve_app.problems import app_error, http_error, unexpected_error, validation_error
from serve_app.request_log import RequestLog
from serve_app.routes import (
    activation,
    analytics,
    events,
    export,
    health,
    image_collection,
    image_imports,
    jobs,
    keys,
    media,
    my_shop,
    prompts,
    recommendations,
    shops,
    similar,
    staff,
    tags,
    taxonomies,
    usage,
    webhook,
)
from serve_app.services import Services

DESCRIPTION = """Search and recommendations by meaning for clothing shops.

Upload product photos. What shoppers ask for, in words or by a photo, is
answered with those that match, ranked.
Errors are `application/problem+json` (RFC 9457)."""


def create_api(services: Services, live: LiveVersion | None = None) -> FastAPI:
    """Build the application around ``services``; closes them at shutdown.

    With ``live``, which begins with the same services, requests follow the live index version.
    """

    def show(current: Services) -> None:
        api.state.services = current

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following: AbstractAsyncContextManager[None] = nullcontext() if live is None else live.running(show)
        try:
            async with services.callers.running(), services.prompt_log.running(), following:
                yield
        finally:
            await services.limiter.close()
            services.database.close()

    api = DescribedApi(
        title="Fashion Recommender", version="0.1.0", description=DESCRIPTION, lifespan=lifespan
    )
    api.state.services = services
    for module in (
        image_imports,
        image_collection,
        jobs,
        similar,
        recommendations,
        tags,
        taxonomies,
        keys,
        staff,
        shops,
        activation,
        my_shop,
        webhook,
        usage,
        prompts,
        events,
        analytics,
        export,
        media,
        health,
    ):
        api.include_router(module.router)
    mount_admin(api, services)
    api.add_exception_handler(AppError, app_error)
    api.add_exception_handler(RequestValidationError, validation_error)
    api.add_exception_handler(HTTPException, http_error)
    api.add_exception_handler(Exception, unexpected_error)
    # base64 in JSON is a third longer than the photo; the exact limit is checked on the photo itself.
    photo_bytes = services.photos.max_bytes * 4 // 3 + 2**20
    api.add_middleware(BodyLimit, photo_bytes=photo_bytes, feed_bytes=services.imports.max_bytes)
    api.add_middleware(FormCharset)
    api.add_middleware(Preflight)
    api.add_middleware(RequestLog, requests=services.requests)
    api.add_middleware(TrailingSlash)
    api.add_middleware(ResponseHeaders)
    api.add_middleware(RequestContext)
    return api
