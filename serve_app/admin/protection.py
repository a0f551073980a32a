"""What stands before every page of the admin: its address, its headers, where requests come from, who asks.

All are ASGI middleware of the mounted admin application, so no page can be added without them.
"""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db import staff as people
from models.errors import AppError
from models.staff import Staff
from serve_app.services import Services

BASE = "/admin"
SESSION_KEY = "session_id"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def public_path(public_url: str | None) -> str:
    """The path under which a proxy publishes the service, such as ``/search``; mostly empty."""
    return urlsplit(public_url or "").path.rstrip("/")


def page(scope: Scope) -> str:
    """The path below /admin, such as ``/shop/list``."""
    return str(scope["path"]).removeprefix(BASE)


class PublicAddress:
    """Links, redirects and the comparison of origins use PUBLIC_URL, where a proxy ends TLS in front."""

    def __init__(self, app: ASGIApp, public_url: str | None) -> None:
        self._app = app
        self._public = urlsplit(public_url) if public_url is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._public is not None and scope["type"] == "http":
            others = [(name, value) for name, value in scope["headers"] if name != b"host"]
            scope = {
                **scope,
                "scheme": self._public.scheme,
                "headers": [*others, (b"host", self._public.netloc.encode())],
                "app_root_path": public_path(self._public.geturl()),
            }
        await self._app(scope, receive, send)


class SecurityHeaders:
    """No scripts but the admin's own, no frames, nothing kept by caches but its static files."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kept = "private, max-age=3600" if page(scope).startswith("/statics/") else "no-store"

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers.update(HEADERS | {"Cache-Control": kept})
            await send(message)

        await self._app(scope, receive, with_headers)


class SameOrigin:
    """Refuses changes that another site's page asks for.

    The session cookie is SameSite=Strict, which keeps it out of such requests; this is the second line.
    The admin's library carries out actions by GET, so those are looked at like POST and DELETE.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _changes(scope) and not _from_here(scope):
            answer = PlainTextResponse(
                "This change was not asked for by a page of the admin. Open the admin and use its buttons.",
                403,
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _changes(scope: Scope) -> bool:
    path = page(scope)
    return scope["method"] not in {"GET", "HEAD"} or "/action/" in path or path.startswith("/logout")


def _from_here(scope: Scope) -> bool:
    """Browsers send Sec-Fetch-Site to https and loopback addresses; else Origin or Referer must tell."""
    headers = Headers(scope=scope)
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    told = headers.get("origin") or headers.get("referer") or ""
    origin = urlsplit(told)
    return (origin.scheme, origin.netloc) == (scope["scheme"], headers.get("host"))


class RequireStaff:
    """Lets nobody in without a session that the database knows at this moment; the login page is open."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or page(scope) == "/login" or page(scope).startswith("/statics/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            staff = await self._staff(request)
        except AppError as error:
            await PlainTextResponse(error.message, error.status_code)(scope, receive, send)
            return
        if staff is not None:
            request.state.staff = staff
            await self._app(scope, receive, send)
        elif scope["method"] == "DELETE":
            # The page's script would follow a redirect and show what it finds there.
            await PlainTextResponse("Your login has ended. Log in again.", 401)(scope, receive, send)
        else:
            request.session.clear()
            login = RedirectResponse(request.url_for("admin:login"), 303)
            await login(scope, receive, send)

    async def _staff(self, request: Request) -> Staff | None:
        session_id = request.session.get(SESSION_KEY)
        if not isinstance(session_id, int):
            return None
        find = partial(people.of_session_id, session_id=session_id)
        found = await self._services.database.read(find)
        return None if found is None else found[0]
