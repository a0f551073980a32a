"""Removing a whole shop, in batches that are each a transaction of the caller."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult, and_, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db import jobs
from models.event import Event
from models.image import Embedding, Image
from models.job import ImportRow, Job, JobError, JobKind
from models.mail import Mail, MailStatus
from models.prompt import Prompt
from models.shop import ApiKey, Shop, ShopStatus, SignupLink
from models.webhook import WebhookDelivery

BATCH_ROWS = 500


def locked(session: Session, shop_id: int) -> Shop | None:
    """The shop, held against every writer until the transaction ends."""
    query = select(Shop).where(col(Shop.id) == shop_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def begin(session: Session, shop: Shop) -> Job:
    """Close the shop for good and queue its removal; the same job where that was done already."""
    if shop.id is None:
        raise AssertionError("a stored shop has an id")
    known = jobs.newest(session, JobKind.DELETE_SHOP, shop.id)
    if shop.status is ShopStatus.DELETING and known is not None:
        return known
    shop.status = ShopStatus.DELETING
    unsent = update(Mail).where(col(Mail.shop_id) == shop.id, col(Mail.status) == MailStatus.QUEUED)
    session.execute(unsent.values(status=MailStatus.CANCELLED))
    return jobs.add(session, JobKind.DELETE_SHOP, shop.id)


def take_leases(session: Session, shop_id: int) -> bool:
    """Take the photos' leases that have run out; true once nobody holds one any more.

    No new lease is given for a shop that is being deleted, so that stays true.
    """
    free = or_(col(Image.lease_until).is_(None), col(Image.lease_until) < func.now())
    own = col(Image.shop_id) == shop_id
    late = update(Image).where(and_(own, col(Image.lease_token).is_not(None), free))
    session.execute(
        late.values(lease_token=None, lease_until=None).execution_options(synchronize_session=False)
    )
    return not session.scalar(select(exists().where(own, col(Image.lease_token).is_not(None))))


def delete_events(session: Session, shop_id: int) -> dict[str, int]:
    """One batch; what was removed, or nothing when there is nothing left."""
    own = select(col(Event.id)).where(col(Event.shop_id) == shop_id).limit(BATCH_ROWS)
    removed = _delete(session, delete(Event).where(col(Event.id).in_(own)))
    return {"events": removed} if removed else {}


def delete_imports(session: Session, shop_id: int) -> dict[str, int]:
    """One batch of their rows and errors, then all imports at once. Whoever works on one finds it gone."""
    own = select(col(Job.id)).where(col(Job.shop_id) == shop_id, col(Job.kind) == JobKind.IMPORT)
    lines = select(col(ImportRow.job_id), col(ImportRow.line)).where(col(ImportRow.job_id).in_(own))
    some = lines.limit(10 * BATCH_ROWS).subquery()
    same = tuple_(col(ImportRow.job_id), col(ImportRow.line)).in_(select(some))
    if _delete(session, delete(ImportRow).where(same)):
        return {"imports": 0}
    errors = select(col(JobError.id)).where(col(JobError.job_id).in_(own)).limit(BATCH_ROWS)
    if _delete(session, delete(JobError).where(col(JobError.id).in_(errors))):
        return {"imports": 0}
    removed = _delete(session, delete(Job).where(col(Job.id).in_(own)))
    return {"imports": removed} if removed else {}


def delete_prompts(session: Session, shop_id: int) -> dict[str, int]:
    """One batch, likewise. Their events are gone by then."""
    own = select(col(Prompt.id)).where(col(Prompt.shop_id) == shop_id).limit(BATCH_ROWS)
    removed = _delete(session, delete(Prompt).where(col(Prompt.id).in_(own)))
    return {"prompts": removed} if removed else {}


def delete_photos(session: Session, shop_id: int) -> dict[str, int]:
    """One batch of photos with their vectors, likewise."""
    own = select(col(Image.id)).where(col(Image.shop_id) == shop_id).order_by(col(Image.id)).limit(BATCH_ROWS)
    ids = session.scalars(own).all()
    if not ids:
        return {}
    vectors = _delete(session, delete(Embedding).where(col(Embedding.image_id).in_(ids)))
    return {"vectors": vectors, "photos": _delete(session, delete(Image).where(col(Image.id).in_(ids)))}


def delete_shop(session: Session, shop_id: int) -> dict[str, int]:
    """The last transaction: links, mails, webhooks, keys and the shop itself."""
    own_messages = delete(WebhookDelivery).where(col(WebhookDelivery.shop_id) == shop_id)
    removed = {
        "deliveries": _delete(session, own_messages),
        "mails": _delete(session, delete(Mail).where(col(Mail.shop_id) == shop_id)),
        "links": _delete(session, delete(SignupLink).where(col(SignupLink.shop_id) == shop_id)),
        "keys": _delete(session, delete(ApiKey).where(col(ApiKey.shop_id) == shop_id)),
    }
    session.execute(delete(Shop).where(col(Shop.id) == shop_id))
    return removed


def _delete(session: Session, statement: Any) -> int:
    result = session.execute(statement.execution_options(synchronize_session=False))
    return result.rowcount if isinstance(result, CursorResult) else 0
