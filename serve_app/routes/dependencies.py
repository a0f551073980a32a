"""What routes ask FastAPI for: the services, the caller, the presenter.

All are coroutines: FastAPI sends plain functions through a thread pool, even mere look-ups.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from models.shop import KeyScope
from models.staff import Staff
from serve_app.authenticate import (
    STAFF_TOKEN_PREFIX,
    StaffCaller,
    authenticate,
    authenticate_staff,
    require_origin,
    require_secret,
)
from serve_app.callers import Caller
from serve_app.cors import readable_by
from serve_app.presentation import Presenter
from serve_app.rate_limits import PROMPTS
from serve_app.request_note import CURRENT
from serve_app.routes.bodies import body_fields
from serve_app.routes.limits import address_of, enforce, note
from serve_app.services import Services

BODY_KEY_FIELDS = ("api_key", "APIKey")

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="Key",
    description="A key of the shop: sk_… for everything, pk_… for recommendations, events and vocabularies.",
)
_staff = HTTPBearer(auto_error=False, scheme_name="StaffSession", description="A session of staff, st_…")
_header = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="KeyHeader", description="The same key."
)


async def get_services(request: Request) -> Services:
    """Those of one index version for the whole request, even where another goes live meanwhile."""
    if not hasattr(request.state, "services"):
        request.state.services = request.app.state.services
    return cast(Services, request.state.services)


ServicesDep = Annotated[Services, Depends(get_services)]


BearerDep = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
HeaderDep = Annotated[str | None, Security(_header)]
SessionDep = Annotated[HTTPAuthorizationCredentials | None, Security(_staff)]


async def get_shopper(
    request: Request, services: ServicesDep, bearer: BearerDep, header: HeaderDep
) -> Caller:
    """A secret or a publishable key, within its rate limits."""
    caller = await _authenticated(request, services, bearer, header)
    enforce(request, await services.limiter.take_request(caller))
    return caller


async def get_header_caller(
    request: Request, services: ServicesDep, bearer: BearerDep, header: HeaderDep
) -> Caller:
    """A secret key, in a header: the body is not looked into, since it may be gigabytes."""
    caller = require_secret(await _authenticated(request, services, bearer, header, in_body=False))
    enforce(request, await services.limiter.take_request(caller))
    return caller


async def get_prompter(
    request: Request, services: ServicesDep, bearer: BearerDep, header: HeaderDep
) -> AsyncIterator[Caller]:
    """The same for a prompt, which counts in the day's quota once it is answered."""
    caller = await _authenticated(request, services, bearer, header)
    verdict = await services.limiter.take_request(caller, prompt=True)
    enforce(request, verdict)
    try:
        yield caller
    except Exception:
        note(request, await services.limiter.give_back(verdict, PROMPTS))
        raise


async def limit_signups(request: Request, services: ServicesDep) -> None:
    """For the routes that anyone may call: so many an hour from one client address."""
    enforce(request, await services.limiter.take_signup(address_of(request, services)))


async def _authenticated(
    request: Request,
    services: Services,
    bearer: HTTPAuthorizationCredentials | None,
    header: str | None,
    *,
    in_body: bool = True,
) -> Caller:
    """By the key in a header or, as the seed's clients send it, in the body."""
    key = bearer.credentials if bearer is not None else header
    if key is None and in_body and request.method in {"POST", "PATCH"}:
        key = _key_in(await body_fields(request))
    caller = await authenticate(services, key)
    if note := CURRENT.get():
        note.shop_id, note.key_id = caller.shop_id, caller.key_id
    if caller.scope is KeyScope.PUBLISHABLE:
        _admit_origin(request, caller)
    return caller


def _admit_origin(request: Request, caller: Caller) -> None:
    """A browser names its page's origin; a request without one comes from elsewhere and is served."""
    headers: dict[str, str] = request.state.response_headers
    headers["Vary"] = "Origin"
    origin = request.headers.get("origin")
    if origin is not None:
        require_origin(caller, origin)
        headers.update(readable_by(origin))


async def get_caller(caller: Annotated[Caller, Depends(get_shopper)]) -> Caller:
    """A secret key."""
    return require_secret(caller)


async def get_staff_caller(services: ServicesDep, session: SessionDep) -> StaffCaller:
    """A session of staff."""
    return await authenticate_staff(services, session.credentials if session is not None else None)


async def get_staff(caller: Annotated[StaffCaller, Depends(get_staff_caller)]) -> Staff:
    """The person of a session of staff."""
    return caller.staff


async def get_reader(
    request: Request, services: ServicesDep, bearer: BearerDep, header: HeaderDep, session: SessionDep
) -> Caller | StaffCaller:
    """Any key, within its rate limits, or a session of staff: for what all of them may read."""
    if session is not None and session.credentials.startswith(STAFF_TOKEN_PREFIX):
        return await authenticate_staff(services, session.credentials)
    return await get_shopper(request, services, bearer, header)


def _key_in(fields: dict[str, Any]) -> str | None:
    for name in BODY_KEY_FIELDS:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return None


async def get_presenter(request: Request, services: ServicesDep) -> Presenter:
    return Presenter(services.signer, services.public_url or str(request.base_url))


CallerDep = Annotated[Caller, Depends(get_caller)]
ShopperDep = Annotated[Caller, Depends(get_shopper)]
HeaderCallerDep = Annotated[Caller, Depends(get_header_caller)]
PrompterDep = Annotated[Caller, Depends(get_prompter, scope="function")]
SignupLimitDep = Depends(limit_signups)
StaffCallerDep = Annotated[StaffCaller, Depends(get_staff_caller)]
StaffDep = Annotated[Staff, Depends(get_staff)]
PresenterDep = Annotated[Presenter, Depends(get_presenter)]
