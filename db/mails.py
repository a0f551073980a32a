"""The outbox as a queue: a mail is claimed under a lease, and sent, put off, failed or cancelled."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db.signups import prolong_link
from models.mail import Mail, MailKind, MailStatus
from models.shop import Shop, ShopStatus, SignupLink

SPACING = timedelta(minutes=1)
KEPT = timedelta(days=90)
MAX_ERROR_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """What sending a mail takes. ``attempts`` counts this one."""

    mail_id: int
    lease_token: str
    kind: MailKind
    recipient: str
    attempts: int
    nonce: bytes
    token_hash: bytes


def add(session: Session, shop: Shop, link: SignupLink, kind: MailKind) -> Mail:
    """Queue a mail with the link to the shop's address."""
    if shop.id is None or link.id is None:
        raise AssertionError("a stored row has an id")
    mail = Mail(shop_id=shop.id, link_id=link.id, kind=kind, recipient=shop.email)
    session.add(mail)
    session.flush()
    return mail


def is_due(session: Session, recipient: str, per_day: int) -> bool:
    """Whether another mail may go to the address: one a minute, and so many a day."""
    recent = select(func.count(), func.max(col(Mail.created_at)) > func.now() - SPACING)
    day = recent.where(
        col(Mail.recipient) == recipient, col(Mail.created_at) > func.now() - timedelta(days=1)
    )
    count, just_now = session.execute(day).one()
    return count < per_day and not just_now


def claim(session: Session, lease_s: float, lifetime_h: float) -> ClaimedMail | None:
    """The next mail that is due. Its link's lifetime starts anew, so that no mail brings a dead link.

    A mail whose link is of no use any more is cancelled.
    """
    due = (
        select(Mail, SignupLink, col(Shop.status))
        .join(SignupLink, col(SignupLink.id) == col(Mail.link_id))
        .join(Shop, col(Shop.id) == col(Mail.shop_id))
        .where(col(Mail.status) == MailStatus.QUEUED)
        .where(or_(col(Mail.lease_until).is_(None), col(Mail.lease_until) < func.now()))
        .order_by(col(Mail.id))
        .limit(1)
        .with_for_update(of=Mail, skip_locked=True)
    )
    while True:
        row = session.execute(due).one_or_none()
        if row is None:
            return None
        mail, link, shop_status = row
        if _is_useful(link, shop_status):
            return _claimed(session, mail, link, lease_s, lifetime_h)
        mail.status = MailStatus.CANCELLED
        session.flush()


def finish(session: Session, mail: ClaimedMail) -> bool:
    """Sent. False where the lease was lost or the mail cancelled meanwhile: then nothing is noted."""
    return _note(session, mail, status=MailStatus.SENT, sent_at=func.now(), error=None, lease_until=None)


def put_off(session: Session, mail: ClaimedMail, pause_s: float, reason: str) -> bool:
    """Not sent; to be tried again after the pause."""
    until = func.now() + timedelta(seconds=pause_s)
    return _note(session, mail, error=reason[:MAX_ERROR_CHARACTERS], lease_until=until)


def fail(session: Session, mail: ClaimedMail, reason: str) -> bool:
    """Not sent, and not tried again unless somebody says so."""
    error = reason[:MAX_ERROR_CHARACTERS]
    return _note(session, mail, status=MailStatus.FAILED, error=error, lease_until=None)


def requeue(session: Session, mail_id: int) -> bool:
    """Try a failed mail again. False where there is none with that id."""
    failed = update(Mail).where(col(Mail.id) == mail_id, col(Mail.status) == MailStatus.FAILED)
    again = failed.values(
        status=MailStatus.QUEUED, attempts=0, error=None, lease_token=None, lease_until=None
    )
    return session.execute(again.returning(col(Mail.id))).one_or_none() is not None


def remove_old(session: Session) -> int:
    """Remove what was settled 90 days ago; returns how many."""
    old = delete(Mail).where(col(Mail.created_at) < func.now() - KEPT, col(Mail.status) != MailStatus.QUEUED)
    return len(session.execute(old.returning(col(Mail.id))).all())


def _is_useful(link: SignupLink, shop_status: ShopStatus) -> bool:
    spent = link.used_at is not None or link.superseded_at is not None
    return not spent and shop_status in (ShopStatus.PENDING, ShopStatus.ACTIVE)


def _claimed(
    session: Session, mail: Mail, link: SignupLink, lease_s: float, lifetime_h: float
) -> ClaimedMail:
    token = secrets.token_hex(16)
    mail.attempts += 1
    mail.lease_token = token
    session.flush()
    until = func.now() + timedelta(seconds=lease_s)
    session.execute(update(Mail).where(col(Mail.id) == mail.id).values(lease_until=until))
    prolong_link(session, link.id, lifetime_h)
    if mail.id is None:
        raise AssertionError("a stored row has an id")
    return ClaimedMail(mail.id, token, mail.kind, mail.recipient, mail.attempts, link.nonce, link.token_hash)


def _note(session: Session, mail: ClaimedMail, **values: Any) -> bool:
    held = update(Mail).where(
        col(Mail.id) == mail.mail_id,
        col(Mail.lease_token) == mail.lease_token,
        col(Mail.status) == MailStatus.QUEUED,
    )
    change = held.values(lease_token=None, **values).returning(col(Mail.id))
    return session.execute(change).one_or_none() is not None
