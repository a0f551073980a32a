"""From an e-mail address to an active shop with keys, by a one-time link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from db import keys, mails, signups
from models.errors import Gone, NotFound
from models.mail import MailKind
from models.shop import KeyScope, Shop, ShopStatus, SignupLink
from serve_app.mailer import link_url
from serve_app.services import Services

ANSWER_AFTER_S = 0.1
ASK_AGAIN = "Ask for a new mail: POST /api/shops/resend/ with your e-mail address."
KINDS = {ShopStatus.PENDING: MailKind.ACTIVATION, ShopStatus.ACTIVE: MailKind.RECOVERY}


@dataclass(frozen=True, slots=True)
class Activated:
    """A shop with two new keys, at the only moment at which they are known whole."""

    shop: Shop
    secret_key: str
    publishable_key: str


async def sign_up(services: Services, name: str, email: str) -> None:
    """Mail a link to the address: a new or pending shop's first keys, or an active one's new keys.

    Whether that address has a shop, and whether a mail is due, can be told neither from the answer nor,
    while the database is quick, from its time.
    """
    await _unhurried(services, partial(_signed_up, services, name, email))


async def resend(services: Services, email: str) -> None:
    """The same for an address that signed up before; nothing for any other."""
    await _unhurried(services, partial(_sent_again, services, email))


async def activate(services: Services, token: str, origins: list[str]) -> Activated:
    """Use the link: the shop becomes active and gets two keys, the publishable one for pages of ``origins``.

    Raises NotFound, Gone.
    """
    return await services.database.run(partial(_activated, services, token, origins))


def link_address(services: Services, link: SignupLink) -> str:
    """The link as it is mailed, for staff where no mail server is configured."""
    return link_url(services.page_base, services.links.token(link.nonce))


async def _unhurried(services: Services, work: Callable[[Session], None]) -> None:
    started = time.monotonic()
    await services.database.run(work)
    await asyncio.sleep(max(0.0, ANSWER_AFTER_S - (time.monotonic() - started)))


def _signed_up(services: Services, name: str, email: str, session: Session) -> None:
    shop = signups.create_or_lock(session, name, email)
    if _mail_link(services, session, shop) and shop.status is ShopStatus.PENDING:
        shop.name = name


def _sent_again(services: Services, email: str, session: Session) -> None:
    shop = signups.lock_shop(session, email)
    if shop is not None:
        _mail_link(services, session, shop)


def _mail_link(services: Services, session: Session, shop: Shop) -> bool:
    """False where the shop gets none: it is suspended or deleted, or had one a moment ago."""
    kind = KINDS.get(shop.status)
    if kind is None or not mails.is_due(session, shop.email, services.accounts.mails_per_day):
        return False
    shop_id = _id(shop.id)
    signups.supersede_links(session, shop_id)
    new = services.links.new()
    lifetime_h = services.accounts.link_lifetime_h
    link = signups.add_link(session, shop_id, new.nonce, new.token_hash, lifetime_h)
    mails.add(session, shop, link, kind)
    return True


def _activated(services: Services, token: str, origins: list[str], session: Session) -> Activated:
    found = signups.lock_link(session, services.links.digest(token))
    if found is None:
        raise NotFound(f"This link is not known. Open the one of the newest mail, whole. {ASK_AGAIN}")
    link, shop = found
    now = datetime.now(UTC)
    _require_usable(link, shop, now)
    link.used_at = now
    which = "First" if shop.status is ShopStatus.PENDING else "Recovered"
    shop.status = ShopStatus.ACTIVE
    shop.activated_at = shop.activated_at or now
    secret = _new_key(services, session, shop, KeyScope.SECRET, name=f"{which} secret key")
    settings = {"name": f"{which} publishable key", "allowed_origins": origins}
    publishable = _new_key(services, session, shop, KeyScope.PUBLISHABLE, **settings)
    return Activated(shop, secret, publishable)


def _require_usable(link: SignupLink, shop: Shop, now: datetime) -> None:
    if shop.status not in KINDS:
        raise Gone("The shop of this link is not active any more. Tell the operator of this service.")
    if link.used_at is not None:
        raise Gone(f"This link was used already, and its keys were shown then. Lost them? {ASK_AGAIN}")
    if link.superseded_at is not None:
        raise Gone(f"A newer mail has replaced this link. Open the newest one. Lost it? {ASK_AGAIN}")
    if link.expires_at is None or link.expires_at <= now:
        raise Gone(f"This link has expired. {ASK_AGAIN}")


def _new_key(services: Services, session: Session, shop: Shop, scope: KeyScope, **settings: Any) -> str:
    key = services.keys.new(scope)
    keys.add_key(session, _id(shop.id), key.public_id, key.secret_hmac, scope, **settings)
    return key.text


def _id(stored: int | None) -> int:
    if stored is None:
        raise AssertionError("a stored row has an id")
    return stored
