"""From a presented API key to the shop that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from db import keys
from models.errors import NotAuthenticated
from models.shop import ShopStatus
from serve_app.secrets import KeyMint
from serve_app.services import Services


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. The tenant of everything that the request touches."""

    shop_id: int
    key_id: int


async def authenticate(services: Services, key: str | None) -> Caller:
    """Raises NotAuthenticated for a missing, malformed, unknown, revoked or expired key."""
    if not key:
        raise NotAuthenticated(
            "This request needs an API key. Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
        )
    return await services.database.read(lambda session: verified(session, services.keys, key))


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
    return Caller(shop.id, stored.id)
