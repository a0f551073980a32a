"""Logging in and out of the admin. The cookie holds the signed id of a session; the session is a row."""

from __future__ import annotations

from functools import partial
from typing import cast

from sqladmin.authentication import AuthenticationBackend
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.errors import AppError
from serve_app.admin.protection import BASE, SESSION_KEY, RequireStaff, public_path
from serve_app.routes.limits import address_of, enforce
from serve_app.services import Services
from serve_app.staff_sessions import login, logout

COOKIE = "admin_session"


class StaffAuthentication(AuthenticationBackend):
    """The same accounts, sessions and throttling as ``/api/staff/``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        public_url = services.public_url or ""
        self.middlewares = [
            Middleware(
                SessionMiddleware,
                secret_key=services.cookie_secret,
                session_cookie=COOKIE,
                max_age=int(services.accounts.session_h * 3600),
                path=public_path(public_url) + BASE,
                same_site="strict",
                https_only=public_url.startswith("https://"),
            ),
            Middleware(RequireStaff, services=services),
        ]

    async def login(self, request: Request) -> Response | bool:
        form = await request.form()
        email, password = str(form.get("username", "")), str(form.get("password", ""))
        address = address_of(request, self._services)
        try:
            session = await login(self._services, email, password, address, partial(enforce, request))
        except AppError as error:
            return await _refused(request, error)
        request.session.clear()
        request.session[SESSION_KEY] = session.session_id
        return RedirectResponse(request.url_for("admin:index"), 303)

    async def logout(self, request: Request) -> Response | bool:
        await logout(self._services, request.state.staff, request.session[SESSION_KEY])
        request.session.clear()
        return RedirectResponse(request.url_for("admin:login"), 303)

    async def authenticate(self, request: Request) -> Response | bool:
        """``RequireStaff`` has looked at the session before."""
        return hasattr(request.state, "staff")


async def _refused(request: Request, error: AppError) -> Response:
    return cast(
        Response,
        await request.app.state.templates.TemplateResponse(
            request, "sqladmin/login.html", {"error": error.message}, status_code=error.status_code
        ),
    )
