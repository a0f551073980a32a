"""The durable queue of score floors to compute: leases on rows of ``score_floor``, as ``db.work`` has them.

Whoever changes vectors of the index calls ``note_change`` in the transaction that finishes the change.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlmodel import col

from db.open_shops import lock_not_deleting
from models.score_floor import ScoreFloor
from models.shop import Shop, ShopStatus

BEHIND = col(ScoreFloor.revision) != col(ScoreFloor.computed_revision)


@dataclass(frozen=True)
class ClaimedFloor:
    """A floor under the lease of ``token``, to be computed for the catalogue as of ``revision`` or newer."""

    shop_id: int
    model_key: str
    revision: int
    token: str


def note_change(session: Session, model_key: str, shop_ids: Collection[int]) -> None:
    """Raise the revision of these shops' floors; a shop that is gone is left out.

    The rows stay locked until the transaction ends, and are taken in the order of the shops' ids, after the
    photos' rows: so no two workers deadlock.
    """
    wanted = select(col(Shop.id)).where(col(Shop.id).in_(shop_ids)).order_by(col(Shop.id))
    existing = session.scalars(wanted.with_for_update(read=True, key_share=True)).all() if shop_ids else []
    if not existing:
        return
    rows = [
        {"shop_id": shop_id, "model_key": model_key, "revision": 1, "computed_revision": 0}
        for shop_id in existing
    ]
    since = case((BEHIND, col(ScoreFloor.behind_since)), else_=func.now())
    session.execute(
        insert(ScoreFloor)
        .values(rows)
        .on_conflict_do_update(
            index_elements=["shop_id", "model_key"],
            set_={
                "revision": col(ScoreFloor.revision) + 1,
                "changed_at": func.now(),
                "behind_since": since,
            },
        )
    )


def claim(
    session: Session, model_key: str, *, quiet_s: float, at_most_s: float, lease_s: float
) -> ClaimedFloor | None:
    """Lease the floor that has been behind for longest, once its catalogue had ``quiet_s`` of rest.

    A catalogue that never rests is no reason to wait for longer than ``at_most_s``.
    """
    row = session.execute(_due(model_key, quiet_s, at_most_s)).one_or_none()
    if row is None or not lock_not_deleting(session, [row.shop_id]):
        return None
    claimed = ClaimedFloor(row.shop_id, model_key, row.revision, secrets.token_hex(16))
    lease = update(ScoreFloor).where(_row(claimed))
    session.execute(lease.values(lease_token=claimed.token, lease_until=_after(lease_s)))
    return claimed


def finish(session: Session, claimed: ClaimedFloor, floor: float | None) -> bool:
    """Store the floor, which stays behind where the catalogue changed meanwhile.

    False where the lease is another's by now.
    """
    return _give_up(
        session,
        claimed,
        lease_until=None,
        floor=floor,
        computed_revision=claimed.revision,
        computed_at=func.now(),
        behind_since=func.now(),
    )


def release(session: Session, claimed: ClaimedFloor, delay_s: float) -> None:
    """Give the floor back, to be claimed after ``delay_s`` at the earliest."""
    _give_up(session, claimed, lease_until=_after(delay_s))


def find(session: Session, shop_id: int, model_key: str) -> ScoreFloor | None:
    """The shop's floor under that model; None where none of its photos was ever embedded by it."""
    return session.get(ScoreFloor, (shop_id, model_key))


def now(session: Session) -> datetime:
    """By the database's clock."""
    return session.execute(select(func.now())).scalar_one()


def waiting(session: Session, model_key: str, since: datetime) -> int:
    """How many floors of that model are not computed for what the catalogues were at that moment."""
    own = col(ScoreFloor.model_key) == model_key, BEHIND, col(ScoreFloor.behind_since) <= since
    open_shops = col(Shop.id) == col(ScoreFloor.shop_id), col(Shop.status) != ShopStatus.DELETING
    query = select(func.count()).select_from(ScoreFloor).join(Shop, and_(*open_shops)).where(*own)
    return session.scalar(query) or 0


def _due(model_key: str, quiet_s: float, at_most_s: float) -> Any:
    floor = ScoreFloor
    status = select(col(Shop.status)).where(col(Shop.id) == col(floor.shop_id)).scalar_subquery()
    rested = or_(col(floor.changed_at) <= _after(-quiet_s), col(floor.behind_since) <= _after(-at_most_s))
    free = or_(col(floor.lease_until).is_(None), col(floor.lease_until) < func.now())
    return (
        select(col(floor.shop_id), col(floor.revision))
        .where(BEHIND, col(floor.model_key) == model_key, rested, free, status != ShopStatus.DELETING)
        .order_by(col(floor.behind_since))
        .limit(1)
        .with_for_update(skip_locked=True, of=floor)
    )


def _give_up(session: Session, claimed: ClaimedFloor, **values: Any) -> bool:
    change = update(ScoreFloor).where(_row(claimed), col(ScoreFloor.lease_token) == claimed.token)
    options = change.values(lease_token=None, **values).returning(col(ScoreFloor.shop_id))
    return session.execute(options.execution_options(synchronize_session=False)).one_or_none() is not None


def _row(claimed: ClaimedFloor) -> Any:
    own = col(ScoreFloor.shop_id) == claimed.shop_id
    return own & (col(ScoreFloor.model_key) == claimed.model_key)


def _after(delay_s: float) -> Any:
    return func.now() + timedelta(seconds=delay_s)
