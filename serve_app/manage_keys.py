"""A shop's API keys: list, create, change, rotate, revoke. Photos and vectors are never touched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy.orm import Session

from db import audit, keys
from models.errors import Conflict, InvalidInput
from models.key_api import KeyChanges, KeyCreated, KeyFields, KeyPublic, KeyRotation, KeyStatus
from models.shop import ApiKey, KeyScope
from models.staff import Staff
from serve_app.callers import Caller
from serve_app.secrets import PREFIXES
from serve_app.services import Services

MAX_ACTIVE_KEYS = 100
T = TypeVar("T")


async def list_keys(services: Services, caller: Caller) -> list[KeyPublic]:
    """All keys of the shop, newest first, those that work no more included."""
    rows = await services.database.read(lambda session: keys.of_shop(session, caller.shop_id))
    return [_public(services, caller, row) for row in rows]


async def create_key(services: Services, caller: Caller, fields: KeyFields) -> KeyCreated:
    """Raises Conflict where the shop has too many keys already."""
    new = services.keys.new(fields.scope)
    settings = {
        "name": fields.name,
        "allowed_origins": fields.allowed_origins,
        "max_images": fields.max_images,
        "expires_at": fields.end(datetime.now(UTC)),
    }

    def created(session: Session) -> ApiKey:
        keys.lock_shop(session, caller.shop_id)
        key = keys.add_key(session, caller.shop_id, new.public_id, new.secret_hmac, fields.scope, **settings)
        _check_count(session, caller.shop_id)
        return key

    row = await services.database.run(created)
    return KeyCreated(**_public(services, caller, row).model_dump(), key=new.text)


async def change_key(services: Services, caller: Caller, key_id: int, changes: KeyChanges) -> KeyPublic:
    """Raises NotFound; InvalidInput for settings that a secret key does not have."""
    given = changes.model_dump(exclude_unset=True)

    def changed(session: Session) -> ApiKey:
        key = keys.locked(session, caller.shop_id, key_id)
        for field in ("allowed_origins", "max_images"):
            if key.scope is KeyScope.SECRET and given.get(field):
                raise InvalidInput(f"{field} is for publishable keys; this key is secret.").at(f"/{field}")
        for field, value in given.items():
            setattr(key, field, value)
        return key

    return _public(services, caller, await _changing(services, caller, changed))


async def rotate_key(services: Services, caller: Caller, key_id: int, rotation: KeyRotation) -> KeyCreated:
    """A successor with the same scope and settings; the old key ends after the overlap.

    Without an expiry of its own the successor lives as long as the old key was made to. Raises NotFound;
    Conflict where the key works no more, was rotated already, or the shop has too many keys.
    """
    overlap_h = services.accounts.key_overlap_h if rotation.overlap_hours is None else rotation.overlap_hours
    new_texts: list[str] = []

    def rotated(session: Session) -> ApiKey:
        keys.lock_shop(session, caller.shop_id)
        old, now = keys.locked(session, caller.shop_id, key_id), datetime.now(UTC)
        _check_rotatable(old, now)
        new = services.keys.new(old.scope)
        new_texts[:] = [new.text]
        settings = {
            "name": old.name,
            "allowed_origins": old.allowed_origins,
            "max_images": old.max_images,
            "requests_per_minute": old.requests_per_minute,
            "expires_at": rotation.end(now) or _same_life(old, now),
        }
        key = keys.add_key(session, caller.shop_id, new.public_id, new.secret_hmac, old.scope, **settings)
        old.replaced_by_id = key.id
        _end(old, now, overlap_h)
        session.flush()
        _check_count(session, caller.shop_id)
        return key

    row = await _changing(services, caller, rotated)
    return KeyCreated(**_public(services, caller, row).model_dump(), key=new_texts[0])


async def revoke_key(services: Services, caller: Caller, key_id: int) -> None:
    """Raises NotFound. A key that was revoked already stays as it is."""

    def revoked(session: Session) -> None:
        key = keys.locked(session, caller.shop_id, key_id)
        key.revoked_at = key.revoked_at or datetime.now(UTC)

    await _changing(services, caller, revoked)


def revoke_any_key(session: Session, staff: Staff, key_id: int) -> int | None:
    """Any shop's key, by staff; returns the shop's id, None where it was revoked before. Raises NotFound."""
    key = keys.locked_by_id(session, key_id)
    if key.revoked_at is not None:
        return None
    key.revoked_at = datetime.now(UTC)
    audit.record(session, staff, "key.revoke", key_id, public_id=key.public_id, shop_id=key.shop_id)
    return key.shop_id


async def _changing(services: Services, caller: Caller, work: Callable[[Session], T]) -> T:
    """The change counts in this process at once, in others within seconds."""
    result = await services.database.run(work)
    services.callers.forget(caller.shop_id)
    return result


def _check_count(session: Session, shop_id: int) -> None:
    if keys.count_active(session, shop_id) > MAX_ACTIVE_KEYS:
        raise Conflict(
            f"The shop has {MAX_ACTIVE_KEYS} active keys already. Revoke one that is not in use: "
            "GET /api/keys/ shows when each was last used."
        )


def _check_rotatable(key: ApiKey, now: datetime) -> None:
    status = key_status(key, now)
    if key.replaced_by_id is not None:
        raise Conflict(f"Key {key.id} was rotated already. Its successor is key {key.replaced_by_id}.")
    if status is not KeyStatus.ACTIVE:
        raise Conflict(f"Key {key.id} is {status}, so it cannot be rotated. Create a key instead.")


def _same_life(old: ApiKey, now: datetime) -> datetime | None:
    if old.expires_at is None or old.created_at is None:
        return None
    return now + (old.expires_at - old.created_at)


def _end(old: ApiKey, now: datetime, overlap_h: float) -> None:
    if overlap_h == 0:
        old.revoked_at = now
        return
    end = now + timedelta(hours=overlap_h)
    old.expires_at = end if old.expires_at is None else min(end, old.expires_at)


def key_status(key: ApiKey, now: datetime) -> KeyStatus:
    """Revoked wins over expired."""
    if key.revoked_at is not None:
        return KeyStatus.REVOKED
    return KeyStatus.EXPIRED if key.expires_at is not None and key.expires_at <= now else KeyStatus.ACTIVE


def _public(services: Services, caller: Caller, key: ApiKey) -> KeyPublic:
    max_images = key.max_images or services.accounts.publishable_max_images
    return KeyPublic.model_validate(
        {
            **key.model_dump(),
            "prefix": f"{PREFIXES[key.scope]}_{key.public_id}",
            "state": key_status(key, datetime.now(UTC)),
            "current": key.id == caller.key_id,
            "max_images": max_images if key.scope is KeyScope.PUBLISHABLE else None,
            "replaced_by": key.replaced_by_id,
        }
    )
