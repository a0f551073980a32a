"""Shops and their API keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    DateTime,
    Integer,
    Select,
    any_,
    column,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from db.open_shops import closed
from models.errors import Conflict, NotFound
from models.score_floor import ScoreFloor
from models.shop import ApiKey, KeyScope, Shop, ShopStatus

USE_PRECISION_S = 60.0


class KeyState(NamedTuple):
    """What authentication reads of a key and its shop; ``score_floors``: by model key, None without any."""

    id: int
    shop_id: int
    public_id: str
    secret_hmac: bytes
    scope: KeyScope
    allowed_origins: list[str]
    max_images: int | None
    requests_per_minute: int | None
    expires_at: datetime | None
    revoked_at: datetime | None
    shop_status: ShopStatus
    shop_requests_per_minute: int | None
    prompts_per_day: int | None
    max_photos: int | None
    score_floors: dict[str, float] | None


_FLOORS = (
    select(func.jsonb_object_agg(col(ScoreFloor.model_key), col(ScoreFloor.floor), type_=JSONB))
    .where(col(ScoreFloor.shop_id) == ApiKey.shop_id, col(ScoreFloor.floor).is_not(None))
    .correlate(ApiKey)
    .scalar_subquery()
)
_STATE: Select[*tuple[Any, ...]] = select(
    col(ApiKey.id),
    col(ApiKey.shop_id),
    col(ApiKey.public_id),
    col(ApiKey.secret_hmac),
    col(ApiKey.scope),
    col(ApiKey.allowed_origins),
    col(ApiKey.max_images),
    col(ApiKey.requests_per_minute),
    col(ApiKey.expires_at),
    col(ApiKey.revoked_at),
    col(Shop.status),
    col(Shop.requests_per_minute),
    col(Shop.prompts_per_day),
    col(Shop.max_photos),
    _FLOORS,
)
_STATE = _STATE.join(Shop, col(Shop.id) == ApiKey.shop_id)


def create_shop(session: Session, name: str, email: str) -> Shop:
    """A new active shop. Raises ``Conflict`` where the e-mail address is taken."""
    shop = Shop(name=name, email=email)
    try:
        with session.begin_nested():
            session.add(shop)
    except IntegrityError as error:
        raise Conflict(f"A shop with the e-mail address {email} exists already.").at("/email") from error
    return shop


def add_key(
    session: Session, shop_id: int, public_id: str, secret_hmac: bytes, scope: KeyScope, **settings: Any
) -> ApiKey:
    """A new key of the shop; ``secret_hmac`` is all that is kept of its secret.

    ``settings`` are further columns: name, allowed_origins, max_images, expires_at, …
    """
    key = ApiKey(shop_id=shop_id, public_id=public_id, secret_hmac=secret_hmac, scope=scope, **settings)
    session.add(key)
    session.flush()
    return key


def find_state(session: Session, public_id: str) -> KeyState | None:
    """Revoked and expired keys and those of inactive shops included: the caller judges."""
    query = _STATE.where(col(ApiKey.public_id) == public_id)
    row = session.execute(query).one_or_none()
    return None if row is None else KeyState._make(row)


def states(session: Session, ids: list[int]) -> list[KeyState]:
    """The same of many keys; one that does not exist any more is missing."""
    wanted = any_(literal(ids, ARRAY(Integer)))
    return [KeyState._make(row) for row in session.execute(_STATE.where(col(ApiKey.id) == wanted))]


def note_uses(session: Session, uses: dict[int, datetime]) -> None:
    """Set when keys were last used, by id, where more than a minute was not noted yet.

    A row that another process writes at the moment is left to it.
    """
    due = (
        select(col(ApiKey.id))
        .where(col(ApiKey.id) == any_(literal(list(uses), ARRAY(Integer))))
        .with_for_update(skip_locked=True, key_share=True)
    )
    moments = literal(list(uses.values()), ARRAY(DateTime(timezone=True)))
    used = (
        func.unnest(literal(list(uses), ARRAY(Integer)), moments)
        .table_valued(column("id", Integer), column("at", DateTime(timezone=True)), name="used")
        .render_derived()
    )
    last = col(ApiKey.last_used_at)
    stale = or_(last.is_(None), last < used.c.at - timedelta(seconds=USE_PRECISION_S))
    change = update(ApiKey).values(last_used_at=used.c.at)
    change = change.where(col(ApiKey.id) == used.c.id, col(ApiKey.id).in_(due), stale)
    session.execute(change.execution_options(synchronize_session=False))


def of_shop(session: Session, shop_id: int) -> list[ApiKey]:
    """All keys, newest first."""
    query = select(ApiKey).where(col(ApiKey.shop_id) == shop_id).order_by(col(ApiKey.id).desc())
    return list(session.scalars(query))


def locked(session: Session, shop_id: int, key_id: int) -> ApiKey:
    """One key of the shop, for a change in this transaction. Raises NotFound."""
    query = select(ApiKey).where(col(ApiKey.id) == key_id, col(ApiKey.shop_id) == shop_id)
    key = session.scalars(query.with_for_update(key_share=True)).one_or_none()
    if key is None:
        raise NotFound(f"There is no key {key_id} in this shop. GET /api/keys/ lists them.")
    return key


def locked_by_id(session: Session, key_id: int) -> ApiKey:
    """Any shop's key, for a change in this transaction. Raises NotFound."""
    query = select(ApiKey).where(col(ApiKey.id) == key_id).with_for_update(key_share=True)
    key = session.scalars(query).one_or_none()
    if key is None:
        raise NotFound(f"There is no key {key_id}.")
    return key


def lock_shop(session: Session, shop_id: int) -> None:
    """Let one transaction at a time add keys, so that their number can be limited.

    Raises NotAuthenticated where the shop is not active any more.
    """
    query = select(col(Shop.status)).where(col(Shop.id) == shop_id).with_for_update(key_share=True)
    if session.scalar(query) is not ShopStatus.ACTIVE:
        raise closed()


def count_active(session: Session, shop_id: int) -> int:
    """Keys that are neither revoked nor expired."""
    expiry = col(ApiKey.expires_at)
    query = select(func.count()).where(
        col(ApiKey.shop_id) == shop_id,
        col(ApiKey.revoked_at).is_(None),
        or_(expiry.is_(None), expiry > func.now()),
    )
    return session.scalars(query).one()


def find_shop(session: Session, email: str) -> Shop | None:
    """The shop with that e-mail address."""
    return session.scalars(select(Shop).where(col(Shop.email) == email)).one_or_none()
