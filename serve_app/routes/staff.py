"""/api/staff/: the sessions of those who run the service."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request

from models.staff_api import LoginAnswer, LoginRequest, StaffPublic
from serve_app.routes.dependencies import ServicesDep, StaffCallerDep, StaffDep
from serve_app.routes.limits import address_of, enforce
from serve_app.staff_sessions import login, logout

router = APIRouter(prefix="/api/staff", tags=["staff"])


@router.post("/login/", responses={401: {}, 429: {}})
async def log_in(body: LoginRequest, services: ServicesDep, request: Request) -> LoginAnswer:
    """Log in. The session's token is sent as `Authorization: Bearer TOKEN`."""
    address = address_of(request, services)
    session = await login(services, body.email, body.password, address, partial(enforce, request))
    request.state.response_headers["Cache-Control"] = "no-store"
    return LoginAnswer(token=session.token, expires_at=session.expires_at)


@router.post("/logout/", status_code=204)
async def log_out(services: ServicesDep, caller: StaffCallerDep) -> None:
    """End the session that the request was made with."""
    await logout(services, caller.staff, caller.session_id)


@router.get("/me/")
async def me(staff: StaffDep) -> StaffPublic:
    """Whose session this is."""
    return StaffPublic.model_validate(staff, from_attributes=True)
