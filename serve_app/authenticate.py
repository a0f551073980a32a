"""From a presented credential to who asks: a shop's key, or a session of staff."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from db.staff import of_session
from models.errors import Forbidden, NotAuthenticated, OriginNotAllowed
from models.origins import normalised_origin
from models.shop import KeyScope
from models.staff import Staff
from serve_app.callers import Caller
from serve_app.services import Services

STAFF_TOKEN_PREFIX = "st_"


@dataclass(frozen=True, slots=True)
class StaffCaller:
    """A member of staff, and the session that says so."""

    staff: Staff
    session_id: int


async def authenticate(services: Services, key: str | None) -> Caller:
    """Raises NotAuthenticated for a missing, malformed, unknown, revoked or expired key."""
    if not key:
        raise NotAuthenticated(
            "This request needs an API key. Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
        )
    return await services.callers.caller(key)


def require_secret(caller: Caller) -> Caller:
    """Raises Forbidden for a publishable key."""
    if caller.scope is not KeyScope.SECRET:
        raise Forbidden(
            "A publishable key (pk_…) may ask for recommendations and similar items, report events and read "
            "the vocabularies, nothing else. Use a secret key (sk_…) from your server, never in a browser."
        )
    return caller


def require_origin(caller: Caller, origin: str) -> None:
    """Raises OriginNotAllowed where the key is not for web pages of that origin (an ``Origin`` header)."""
    try:
        if normalised_origin(origin) in caller.allowed_origins:
            return
    except ValueError:
        pass
    raise OriginNotAllowed(
        f"Web pages of {origin[:100]!r} may not use this publishable key. To allow the origin, add it to the "
        f"key's allowed_origins: PATCH /api/keys/{caller.key_id}/ with a secret key."
    )


async def authenticate_staff(services: Services, token: str | None) -> StaffCaller:
    """The person and session of a token. Raises NotAuthenticated; Forbidden for a shop's key."""
    if token and services.keys.public_id(token) is not None:
        raise Forbidden("Only staff may do this. A shop's key cannot.")
    found = None
    if token and token.startswith(STAFF_TOKEN_PREFIX):
        token_hash = staff_token_hash(token)
        found = await services.database.read(lambda session: of_session(session, token_hash))
    if found is None:
        raise NotAuthenticated(
            "This request needs a staff session. Log in at /api/staff/login/ and send its token as "
            "'Authorization: Bearer TOKEN'."
        )
    return StaffCaller(*found)


def staff_token_hash(token: str) -> bytes:
    """What is stored of a session's token; it has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()
