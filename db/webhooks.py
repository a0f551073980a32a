"""The outbox of webhooks as a queue: a message is claimed under a lease, and sent, put off or failed.

A message goes to the address that its shop has when it is sent, signed with the secret of that moment.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from db.open_shops import lock_open
from models.job import Job
from models.shop import Shop, ShopStatus
from models.webhook import DeliveryStatus, WebhookDelivery

KEPT = timedelta(days=30)
MAX_ERROR_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """What posting a message takes. ``attempts`` counts this one; ``nonce`` is that of the secret."""

    delivery_id: UUID
    shop_id: int
    lease_token: str
    url: str
    nonce: bytes
    payload: dict[str, Any]
    attempts: int


def set_webhook(session: Session, shop_id: int, url: str, nonce: bytes) -> None:
    """From now on. Raises NotAuthenticated where the shop is not active."""
    lock_open(session, shop_id)
    own = update(Shop).where(col(Shop.id) == shop_id)
    session.execute(own.values(webhook_url=url, webhook_nonce=nonce))


def remove_webhook(session: Session, shop_id: int) -> None:
    """What waits is not sent any more. Raises NotAuthenticated where the shop is not active."""
    lock_open(session, shop_id)
    own = update(Shop).where(col(Shop.id) == shop_id)
    session.execute(own.values(webhook_url=None, webhook_nonce=None))
    waiting = update(WebhookDelivery).where(col(WebhookDelivery.shop_id) == shop_id, _is_queued())
    ended = {"status": DeliveryStatus.FAILED, "error": "The webhook was removed."}
    session.execute(waiting.values(**ended, lease_token=None, lease_until=None))


def url_of(session: Session, shop_id: int) -> str | None:
    """Where the shop's messages go."""
    return session.scalar(select(col(Shop.webhook_url)).where(col(Shop.id) == shop_id))


def announce(session: Session, job: Job) -> WebhookDelivery | None:
    """Queue ``import.succeeded``, ``.failed`` or ``.cancelled``; None where the shop has no webhook.

    Call it in the transaction that ends the job: then there is a message if and only if the job ended.
    """
    if job.shop_id is None:
        return None
    data = {"job_id": job.id, "status": job.status, "counts": job.counts, "error": job.error}
    return add(session, job.shop_id, f"{job.kind}.{job.status}", data, job_id=job.id)


def add(
    session: Session, shop_id: int, event: str, data: dict[str, Any], job_id: int | None = None
) -> WebhookDelivery | None:
    """Queue a message. None where the shop has no webhook, or is being deleted."""
    own = select(col(Shop.webhook_url)).where(_is_kept(shop_id)).with_for_update(read=True)
    if session.scalar(own) is None:
        return None
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = {"type": event, "timestamp": now, "data": data}
    delivery = WebhookDelivery(shop_id=shop_id, job_id=job_id, event=event, payload=payload)
    session.add(delivery)
    session.flush()
    session.refresh(delivery)
    return delivery


def waits(session: Session, shop_id: int, event: str) -> bool:
    """Whether a message of that kind is not sent yet."""
    own = col(WebhookDelivery.shop_id) == shop_id, col(WebhookDelivery.event) == event, _is_queued()
    return session.scalar(select(exists().where(*own))) is True


def newest(session: Session, shop_id: int, limit: int) -> Sequence[WebhookDelivery]:
    """The shop's last messages, newest first."""
    own = select(WebhookDelivery).where(col(WebhookDelivery.shop_id) == shop_id)
    return session.scalars(own.order_by(col(WebhookDelivery.created_at).desc()).limit(limit)).all()


def claim(session: Session, lease_s: float) -> ClaimedDelivery | None:
    """The message that has been due longest; of a shop one at a time, so that a slow one has one turn."""
    due_since = func.coalesce(col(WebhookDelivery.lease_until), col(WebhookDelivery.created_at))
    query = (
        select(WebhookDelivery, Shop)
        .join(Shop, col(Shop.id) == col(WebhookDelivery.shop_id))
        .where(_is_queued(), _is_free(), ~_shop_has_another())
        .where(col(Shop.webhook_url).is_not(None), col(Shop.status) != ShopStatus.DELETING)
        .order_by(due_since, col(WebhookDelivery.id))
        .limit(1)
        .with_for_update(of=WebhookDelivery, skip_locked=True)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    delivery, shop = row
    return _claimed(session, delivery, shop, lease_s)


def finish(session: Session, delivery: ClaimedDelivery) -> bool:
    """Sent. False where the lease was lost or the webhook removed meanwhile: then nothing is noted."""
    sent = {"status": DeliveryStatus.SENT, "sent_at": func.now(), "error": None, "lease_until": None}
    return _note(session, delivery, sent)


def put_off(session: Session, delivery: ClaimedDelivery, pause_s: float, reason: str) -> bool:
    """Not taken; to be tried again after the pause."""
    until = func.now() + timedelta(seconds=pause_s)
    return _note(session, delivery, {"error": reason[:MAX_ERROR_CHARACTERS], "lease_until": until})


def fail(session: Session, delivery: ClaimedDelivery, reason: str) -> bool:
    """Not taken, and not tried again."""
    error = reason[:MAX_ERROR_CHARACTERS]
    return _note(session, delivery, {"status": DeliveryStatus.FAILED, "error": error, "lease_until": None})


def remove_old(session: Session) -> int:
    """Remove what is 30 days old and settled; returns how many."""
    old = col(WebhookDelivery.created_at) < func.now() - KEPT
    settled = delete(WebhookDelivery).where(old, ~_is_queued())
    return len(session.execute(settled.returning(col(WebhookDelivery.id))).all())


def _is_kept(shop_id: int) -> ColumnElement[bool]:
    return and_(col(Shop.id) == shop_id, col(Shop.status) != ShopStatus.DELETING)


def _is_queued() -> ColumnElement[bool]:
    return col(WebhookDelivery.status) == DeliveryStatus.QUEUED


def _is_free() -> ColumnElement[bool]:
    until = col(WebhookDelivery.lease_until)
    return or_(until.is_(None), until < func.now())


def _shop_has_another() -> ColumnElement[bool]:
    """In a worker's hands at this moment."""
    other = aliased(WebhookDelivery)
    return exists().where(
        col(other.shop_id) == col(WebhookDelivery.shop_id),
        col(other.status) == DeliveryStatus.QUEUED,
        col(other.lease_token).is_not(None),
        col(other.lease_until) >= func.now(),
    )


def _claimed(session: Session, delivery: WebhookDelivery, shop: Shop, lease_s: float) -> ClaimedDelivery:
    if shop.id is None or shop.webhook_url is None or shop.webhook_nonce is None:
        raise AssertionError("a webhook has an address and a nonce")
    token = secrets.token_hex(16)
    delivery.attempts += 1
    delivery.lease_token = token
    session.flush()
    until = func.now() + timedelta(seconds=lease_s)
    own = update(WebhookDelivery).where(col(WebhookDelivery.id) == delivery.id)
    session.execute(own.values(lease_until=until))
    return ClaimedDelivery(
        delivery.id, shop.id, token, shop.webhook_url, shop.webhook_nonce, delivery.payload, delivery.attempts
    )


def _note(session: Session, delivery: ClaimedDelivery, values: dict[str, Any]) -> bool:
    held = update(WebhookDelivery).where(
        col(WebhookDelivery.id) == delivery.delivery_id,
        col(WebhookDelivery.lease_token) == delivery.lease_token,
        _is_queued(),
    )
    change = held.values(lease_token=None, **values).returning(col(WebhookDelivery.id))
    return session.execute(change).one_or_none() is not None
