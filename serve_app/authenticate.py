"""From a presented credential to who asks: a shop's key, or a session of staff."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from db import keys
from db.staff import of_session
from models.errors import Forbidden, NotAuthenticated
from models.shop import KeyScope, ShopStatus
from models.staff import Staff
from serve_app.secrets import KeyMint
from serve_app.services import Services

STAFF_TOKEN_PREFIX = "st_"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. The tenant of everything that the request touches."""

    shop_id: int
    key_id: int
    scope: KeyScope


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
    return await services.database.read(lambda session: verified(session, services.keys, key))


def require_secret(caller: Caller) -> Caller:
    """Raises Forbidden for a publishable key."""
    if caller.scope is not KeyScope.SECRET:
        raise Forbidden(
            "A publishable key (pk_…) may ask for recommendations only. Use a secret key (sk_…) from your "
            "server, never in a browser."
        )
    return caller


def verified(session: Session, mint: KeyMint, key: str) -> Caller:
    """Look the key up and compare it in constant time."""
    public_id = mint.public_id(key)
    found = keys.find_key(session, public_id) if public_id is not None else None
    if found is None or not mint.matches(key, found[0].secret_hmac):
        raise NotAuthenticated("This API key is not known. Check that it was copied whole.")
    stored, shop = found
    now = datetime.now(UTC)
    if stored.revoked_at is not None and stored.revoked_at <= now:
        raise NotAuthenticated("This API key was revoked. Use another key of the shop.")
    if stored.expires_at is not None and stored.expires_at <= now:
        raise NotAuthenticated("This API key has expired. Use another key of the shop.")
    if shop.status is not ShopStatus.ACTIVE:
        raise NotAuthenticated("The shop of this API key is not active.")
    if shop.id is None or stored.id is None:
        raise AssertionError("a stored row has an id")
    return Caller(shop.id, stored.id, stored.scope)


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
