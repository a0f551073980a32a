"""Shops that sign up, and the one-time links that open them.

Whoever locks several rows takes the shop first, then its mails, then its links.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlmodel import col

from models.mail import Mail, MailStatus
from models.shop import Shop, ShopStatus, SignupLink

STALE_AFTER = timedelta(days=7)


def create_or_lock(session: Session, name: str, email: str) -> Shop:
    """The shop of that address, locked; a new one is pending. Sign-ups at one moment wait for each other."""
    new = insert(Shop).values(name=name, email=email, status=ShopStatus.PENDING)
    while True:
        session.execute(new.on_conflict_do_nothing(index_elements=["email"]))
        shop = lock_shop(session, email)
        if shop is not None:
            return shop


def lock_shop(session: Session, email: str) -> Shop | None:
    """The shop of that address, locked."""
    query = select(Shop).where(col(Shop.email) == email)
    locked = query.with_for_update(key_share=True)
    return session.scalars(locked, execution_options=_fresh()).one_or_none()


def supersede_links(session: Session, shop_id: int) -> None:
    """Former links of the shop stop working, and those that wait to be mailed are not."""
    waiting = update(Mail).where(col(Mail.shop_id) == shop_id, col(Mail.status) == MailStatus.QUEUED)
    session.execute(waiting.values(status=MailStatus.CANCELLED, lease_token=None, lease_until=None))
    usable = update(SignupLink).where(
        col(SignupLink.shop_id) == shop_id,
        col(SignupLink.used_at).is_(None),
        col(SignupLink.superseded_at).is_(None),
    )
    session.execute(usable.values(superseded_at=func.now()))


def add_link(
    session: Session, shop_id: int, nonce: bytes, token_hash: bytes, lifetime_h: float
) -> SignupLink:
    """A new link of the shop."""
    link = SignupLink(shop_id=shop_id, nonce=nonce, token_hash=token_hash)
    session.add(link)
    session.flush()
    prolong_link(session, link.id, lifetime_h)
    return link


def prolong_link(session: Session, link_id: int | None, lifetime_h: float) -> None:
    """Its lifetime counts from now."""
    change = update(SignupLink).where(col(SignupLink.id) == link_id)
    session.execute(change.values(expires_at=func.now() + timedelta(hours=lifetime_h)))


def lock_link(session: Session, token_hash: bytes) -> tuple[SignupLink, Shop] | None:
    """The link, usable or not, and its shop; both locked."""
    of_token = select(SignupLink).where(col(SignupLink.token_hash) == token_hash)
    known = session.scalars(of_token).one_or_none()
    if known is None:
        return None
    of_link = select(Shop).where(col(Shop.id) == known.shop_id).with_for_update(key_share=True)
    shop = session.scalars(of_link).one_or_none()
    link = session.scalars(of_token.with_for_update(), execution_options=_fresh()).one_or_none()
    return (link, shop) if link is not None and shop is not None else None


def find_link(session: Session, link_id: int) -> SignupLink | None:
    """One link by its id."""
    return session.get(SignupLink, link_id)


def remove_stale_shops(session: Session) -> int:
    """Remove shops whose newest link expired a week ago unused; returns how many. They have rows only."""
    locked = select(col(Shop.id)).where(_is_stale()).with_for_update(skip_locked=True)
    ids = list(session.scalars(locked))
    # Asked again under the lock: a sign-up may have come between.
    gone = session.execute(delete(Shop).where(col(Shop.id).in_(ids), _is_stale()).returning(col(Shop.id)))
    return len(gone.all())


def _is_stale() -> ColumnElement[bool]:
    of_shop = col(SignupLink.shop_id) == col(Shop.id)
    newest = select(func.max(col(SignupLink.expires_at))).where(of_shop).scalar_subquery()
    queued = exists().where(col(Mail.shop_id) == col(Shop.id), col(Mail.status) == MailStatus.QUEUED)
    return (col(Shop.status) == ShopStatus.PENDING) & (newest < func.now() - STALE_AFTER) & ~queued


def _fresh() -> dict[str, Any]:
    """Read again what the session knows from before the lock."""
    return {"populate_existing": True}
