"""Shops and their API keys."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from models.errors import Conflict
from models.shop import ApiKey, KeyScope, Shop


def create_shop(session: Session, name: str, email: str) -> Shop:
    """A new active shop. Raises ``Conflict`` where the e-mail address is taken."""
    shop = Shop(name=name, email=email)
    try:
        with session.begin_nested():
            session.add(shop)
    except IntegrityError as error:
        raise Conflict(f"A shop with the e-mail address {email} exists already.").at("/email") from error
    return shop


def add_key(session: Session, shop_id: int, public_id: str, secret_hmac: bytes, scope: KeyScope) -> ApiKey:
    """A new key of the shop; ``secret_hmac`` is all that is kept of its secret."""
    key = ApiKey(shop_id=shop_id, public_id=public_id, secret_hmac=secret_hmac, scope=scope)
    session.add(key)
    session.flush()
    return key


def find_key(session: Session, public_id: str) -> tuple[ApiKey, Shop] | None:
    """The key and its shop, revoked and expired keys and suspended shops included: the caller judges."""
    query = select(ApiKey, Shop).join(Shop, col(Shop.id) == ApiKey.shop_id)
    row = session.execute(query.where(col(ApiKey.public_id) == public_id)).one_or_none()
    return None if row is None else (row[0], row[1])


def find_shop(session: Session, email: str) -> Shop | None:
    """The shop with that e-mail address."""
    return session.scalars(select(Shop).where(col(Shop.email) == email)).one_or_none()
