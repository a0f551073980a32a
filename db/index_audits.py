"""Which collection is compared with PostgreSQL, by whom and with what result: leases on ``index_audit``."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlmodel import col

from db.open_shops import lock_not_deleting
from models.image import Image, IndexState, IndexVersion
from models.index_audit import IndexAudit
from models.score_floor import ScoreFloor
from models.shop import Shop, ShopStatus


@dataclass(frozen=True)
class ClaimedAudit:
    """One collection under the lease of ``token``, since ``began_at``."""

    version_id: int
    shop_id: int
    token: str
    began_at: datetime


def claim(session: Session, version_id: int, shop_id: int, lease_s: float) -> ClaimedAudit | None:
    """Lease that collection; None while another has it, or where the shop is being deleted."""
    if not lock_not_deleting(session, [shop_id]):
        return None
    new = insert(IndexAudit).values(version_id=version_id, shop_id=shop_id)
    session.execute(new.on_conflict_do_nothing())
    claimed = ClaimedAudit(
        version_id, shop_id, secrets.token_hex(16), session.scalars(select(func.now())).one()
    )
    lease = update(IndexAudit).where(_row(claimed), _is_free())
    values = {"lease_token": claimed.token, "lease_until": func.now() + timedelta(seconds=lease_s)}
    taken = lease.values(**values).returning(col(IndexAudit.shop_id))
    return claimed if session.scalar(taken) is not None else None


def claim_due(
    session: Session, every_h: float, lease_s: float, soon: range = range(0)
) -> ClaimedAudit | None:
    """Lease the live version's collection that was not compared for longest, if for ``every_h`` at least.

    A new shop's first turn comes that long after the shop; where the number of its photos is in ``soon``, and
    after each change of these, as soon as its score floor is computed, which is when the catalogue rests.
    """
    of_shop = and_(
        col(IndexAudit.shop_id) == col(Shop.id), col(IndexAudit.version_id) == col(IndexVersion.id)
    )
    since = func.coalesce(col(IndexAudit.audited_at), col(Shop.created_at))
    query: Any = (
        select(col(IndexVersion.id).label("version_id"), col(Shop.id).label("shop_id"))
        .select_from(Shop)
        .join(IndexVersion, col(IndexVersion.state) == IndexState.LIVE)
        .outerjoin(IndexAudit, of_shop)
        .where(col(Shop.status) == ShopStatus.ACTIVE, _is_free())
        .where(or_(since < func.now() - timedelta(hours=every_h), and_(_rests_since(since), _has(soon))))
        .order_by(since, col(Shop.id))
        .limit(1)
    )
    due = session.execute(query).one_or_none()
    return claim(session, due.version_id, due.shop_id, lease_s) if due is not None else None


def renew(session: Session, claimed: ClaimedAudit, lease_s: float) -> bool:
    """Whether the lease is still ours; it is prolonged then."""
    return _change(session, claimed, lease_until=func.now() + timedelta(seconds=lease_s))


def finish(session: Session, claimed: ClaimedAudit, found: dict[str, Any], repaired: dict[str, Any]) -> None:
    """Note the result, as of the beginning, and give the lease up; nothing where it was lost."""
    values = {"found": found, "repaired": repaired, "audited_at": claimed.began_at}
    _change(session, claimed, lease_token=None, lease_until=None, **values)


def release(session: Session, claimed: ClaimedAudit, delay_s: float) -> None:
    """Give the lease up without a result, to be taken after ``delay_s`` at the earliest."""
    _change(session, claimed, lease_token=None, lease_until=func.now() + timedelta(seconds=delay_s))


def _change(session: Session, claimed: ClaimedAudit, **values: Any) -> bool:
    own = update(IndexAudit).where(_row(claimed), col(IndexAudit.lease_token) == claimed.token)
    return session.scalar(own.values(**values).returning(col(IndexAudit.shop_id))) is not None


def _row(claimed: ClaimedAudit) -> Any:
    return and_(col(IndexAudit.version_id) == claimed.version_id, col(IndexAudit.shop_id) == claimed.shop_id)


def _rests_since(since: Any) -> Any:
    floor = ScoreFloor
    own = col(floor.shop_id) == col(Shop.id), col(floor.model_key) == col(IndexVersion.model_key)
    return exists().where(*own, col(floor.computed_at) > since)


def _has(photos: range) -> Any:
    """Without counting more of the shop's photos than the answer takes."""
    own = select(col(Image.id)).where(col(Image.shop_id) == col(Shop.id))
    return and_(own.offset(photos.start).limit(1).exists(), ~own.offset(photos.stop).limit(1).exists())


def _is_free() -> Any:
    return or_(col(IndexAudit.lease_until).is_(None), col(IndexAudit.lease_until) < func.now())
