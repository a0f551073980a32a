"""The admin as part of the application."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from sqladmin import Admin
from sqladmin.authentication import login_required
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from db.attention import attention
from models.errors import AppError
from serve_app.admin.authentication import StaffAuthentication
from serve_app.admin.index_audits import IndexAuditView
from serve_app.admin.jobs import JobView
from serve_app.admin.keys import KeyView
from serve_app.admin.mails import MailView
from serve_app.admin.people import AuditView, StaffView
from serve_app.admin.photos import PhotoView
from serve_app.admin.prompts import PromptView
from serve_app.admin.protection import BASE, PublicAddress, SameOrigin, SecurityHeaders
from serve_app.admin.shops import ShopView
from serve_app.admin.terms import AgeGroupView, CategoryView, StyleView
from serve_app.services import Services

logger = logging.getLogger("serve_app")
VIEWS = (
    *(ShopView, KeyView, PhotoView, PromptView, CategoryView, StyleView, AgeGroupView, JobView, MailView),
    *(IndexAuditView, StaffView, AuditView),
)


class StaffAdmin(Admin):
    """The library's pages, with a sentence where it would fail on a malformed request."""

    @login_required
    async def index(self, request: Request) -> Response:
        """What waits and what failed."""
        services: Services = request.app.state.services
        context = {"attention": await services.database.read(attention)}
        return cast(Response, await self.templates.TemplateResponse(request, "sqladmin/index.html", context))

    async def _delete(self, request: Request) -> None:
        if not request.query_params.get("pks"):
            raise HTTPException(400, "Nothing is selected. Tick the records first.")
        await super()._delete(request)


def mount_admin(api: FastAPI, services: Services) -> None:
    """Serve the admin under /admin, its scripts and styles included."""
    admin = StaffAdmin(
        api,
        session_maker=services.database.session_maker(),
        base_url=BASE,
        title="Fashion Recommender",
        templates_dir=str(Path(__file__).parent / "templates"),
        middlewares=[
            Middleware(PublicAddress, public_url=services.public_url),
            Middleware(SecurityHeaders),
            Middleware(SameOrigin),
        ],
        authentication_backend=StaffAuthentication(services),
    )
    admin.admin.state.services = services
    admin.admin.state.templates = admin.templates
    admin.admin.exception_handlers |= {AppError: _known_error, Exception: _unexpected_error}
    for view in VIEWS:
        metaclass: Any = type(view)
        admin.add_view(metaclass(view.__name__, (view,), {"services": services}))


async def _known_error(request: Request, error: Exception) -> Response:
    known = cast(AppError, error)
    if known.status_code >= 500:
        logger.error("%s: %s (admin)", known.code, known.message)
    return await _page(request, known.status_code, known.message)


async def _unexpected_error(request: Request, error: Exception) -> Response:
    request_id = request.scope["state"].get("request_id", "")
    logger.error("unexpected error in the admin", exc_info=error)
    return await _page(request, 500, f"Something went wrong. The log has it under {request_id}.")


async def _page(request: Request, status: int, message: str) -> Response:
    context = {"status_code": status, "message": message}
    return cast(
        Response,
        await request.app.state.templates.TemplateResponse(
            request, "sqladmin/error.html", context, status_code=status
        ),
    )
