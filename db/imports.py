"""Imports as jobs: claimed shop by shop, in slices, and closed once their photos are indexed.

A job is *worked on* (checking, storing, removing), then it waits until its photos are indexed, and at last it
is *closed*. A worker holds it under a lease; what it did is in ``import_row``, so another one can go on.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased
from sqlmodel import col

from db.jobs import MAX_ERROR_CHARACTERS, WAITING
from models.image import Image, ImageStatus
from models.import_job import ImportCounts, ImportPhase, ImportRequest
from models.job import Job, JobKind, JobStatus
from models.shop import Shop, ShopStatus

ENDING = (ImportPhase.INDEXING, ImportPhase.FAILING)


@dataclass(frozen=True)
class ClaimedImport:
    """An import under the lease of ``token``; ``counts`` is what earlier attempts have saved."""

    job_id: int
    shop_id: int
    token: str
    phase: ImportPhase
    request: ImportRequest
    counts: ImportCounts
    created_at: datetime


@dataclass(frozen=True)
class ClosingImport:
    """An import with nothing left to do but to clean up, and how it ends."""

    claimed: ClaimedImport
    status: JobStatus


def claim(session: Session, *, lease_s: float, max_attempts: int) -> ClaimedImport | None:
    """Lease the import whose shop has waited longest for its turn; of a shop, the oldest one.

    One whose workers died ``max_attempts`` times without getting any further goes to be closed as failed.
    """
    turn = _workable().order_by(_last_turn().asc().nulls_first(), col(Job.id)).limit(1)
    job = session.scalars(turn.with_for_update(skip_locked=True, of=Job)).one_or_none()
    if job is None:
        return None
    if job.attempts >= max_attempts:
        reason = job.error or "the work on it stopped each time without a reason"
        job.error = f"gave up after {job.attempts} attempts: {reason}"[:MAX_ERROR_CHARACTERS]
        job.error_code, job.phase = "internal_error", ImportPhase.FAILING
        job.lease_token = job.lease_until = None
        return None
    job.status, job.phase = JobStatus.RUNNING, job.phase or ImportPhase.CHECKING
    job.attempts += 1
    job.error = None
    job.started_at = job.started_at or datetime.now(UTC)
    return _leased(session, job, lease_s, served_at=func.now())


def claim_closing(session: Session, lease_s: float) -> ClosingImport | None:
    """Lease an import that failed, that its shop cancelled, or whose photos are all indexed."""
    query = _of_open_shops().where(
        or_(
            col(Job.phase) == ImportPhase.FAILING,
            col(Job.cancel_requested),
            and_(col(Job.phase) == ImportPhase.INDEXING, ~_has_waiting_photos()),
        )
    )
    query = query.order_by(col(Job.id)).limit(1).with_for_update(skip_locked=True, of=Job)
    job = session.scalars(query).one_or_none()
    if job is None:
        return None
    status = JobStatus.CANCELLED if job.cancel_requested else JobStatus.SUCCEEDED
    if job.phase is ImportPhase.FAILING:
        status = JobStatus.FAILED
    job.phase = job.phase or ImportPhase.CHECKING
    return ClosingImport(_leased(session, job, lease_s), status)


def others_wait(session: Session, shop_id: int) -> bool:
    """Whether an import of another shop could be worked on now."""
    return session.scalar(_workable().where(col(Job.shop_id) != shop_id).limit(1)) is not None


def save(
    session: Session, job: ClaimedImport, phase: ImportPhase, counts: ImportCounts, *, lease_s: float
) -> bool | None:
    """Keep the counts and prolong the lease. Whether the shop wants it cancelled; None: the lease is gone."""
    values = {"phase": phase, "counts": counts.model_dump(), "lease_until": _after(lease_s)}
    return _change(session, job, values)


def note_progress(session: Session, job: ClaimedImport) -> None:
    """Count attempts anew, since they are those without progress.

    For the transaction that keeps the progress: whoever dies just after it has not worked in vain.
    """
    own = col(Job.id) == job.job_id, col(Job.lease_token) == job.token, col(Job.attempts) > 0
    change = update(Job).where(*own).values(attempts=0)
    session.execute(change.execution_options(synchronize_session=False))


def give_back(
    session: Session, job: ClaimedImport, *, delay_s: float, error: str | None, crashed: bool = False
) -> None:
    """To be claimed again, after ``delay_s`` at the earliest; other shops come first."""
    attempts = col(Job.attempts) if crashed else func.greatest(col(Job.attempts) - 1, 0)
    values = {
        "status": JobStatus.QUEUED,
        "attempts": attempts,
        "served_at": func.now(),
        "lease_token": None,
        "lease_until": _after(delay_s),
        "error": error and error[:MAX_ERROR_CHARACTERS],
    }
    _change(session, job, values)


def hand_over(
    session: Session,
    job: ClaimedImport,
    phase: ImportPhase,
    counts: ImportCounts,
    *,
    error: str | None = None,
    error_code: str | None = None,
) -> bool:
    """The work is done: the job waits for its photos (indexing) or to be closed (failing)."""
    values = {
        "phase": phase,
        "counts": counts.model_dump(),
        "error": error and error[:MAX_ERROR_CHARACTERS],
        "error_code": error_code,
        "served_at": func.now(),
        "lease_token": None,
        "lease_until": None,
    }
    return _change(session, job, values) is not None


def close(session: Session, closing: ClosingImport, counts: ImportCounts) -> Job | None:
    """The end, with the final counts; None where the lease is another's by now."""
    values: dict[str, Any] = {
        "status": closing.status,
        "counts": counts.model_dump(),
        "finished_at": func.now(),
        "lease_token": None,
        "lease_until": None,
    }
    if closing.status is not JobStatus.FAILED:
        values["error"] = None
    if _change(session, closing.claimed, values) is None:
        return None
    return session.get_one(Job, closing.claimed.job_id, populate_existing=True)


def holds(session: Session, job: ClaimedImport) -> bool:
    """Whether the lease is still this one's, expired or not."""
    own = col(Job.id) == job.job_id, col(Job.lease_token) == job.token
    return session.scalar(select(exists().where(*own))) is True


def _workable() -> Select[Job]:
    """Imports that a worker may take up, of each shop the oldest one that is not done."""
    older = aliased(Job)
    undone = or_(col(older.phase).is_(None), col(older.phase).not_in(ENDING))
    before = and_(
        col(older.shop_id) == col(Job.shop_id),
        col(older.kind) == JobKind.IMPORT,
        col(older.status).in_(WAITING),
        col(older.id) < col(Job.id),
    )
    return _of_open_shops().where(
        col(Shop.status) == ShopStatus.ACTIVE,
        ~col(Job.cancel_requested),
        or_(col(Job.phase).is_(None), col(Job.phase).not_in(ENDING)),
        ~exists().where(before, undone),
    )


def _of_open_shops() -> Select[Job]:
    free = or_(col(Job.lease_until).is_(None), col(Job.lease_until) < func.now())
    return (
        select(Job)
        .join(Shop, col(Shop.id) == col(Job.shop_id))
        .where(col(Job.kind) == JobKind.IMPORT, col(Job.status).in_(WAITING), free)
        .where(col(Shop.status) != ShopStatus.DELETING)
    )


def _last_turn() -> ColumnElement[Any]:
    other = aliased(Job)
    own = col(other.shop_id) == col(Job.shop_id), col(other.kind) == JobKind.IMPORT
    return select(func.max(col(other.served_at))).where(*own).scalar_subquery()


def _has_waiting_photos() -> ColumnElement[bool]:
    waiting = col(Image.status).in_([ImageStatus.PENDING, ImageStatus.PROCESSING])
    return exists().where(col(Image.import_job_id) == col(Job.id), waiting)


def _leased(session: Session, job: Job, lease_s: float, **values: Any) -> ClaimedImport:
    if job.id is None or job.shop_id is None or job.phase is None or job.created_at is None:
        raise AssertionError("a stored import has an id, a shop, a phase and a date")
    token = secrets.token_hex(16)
    claimed = ClaimedImport(
        job_id=job.id,
        shop_id=job.shop_id,
        token=token,
        phase=job.phase,
        request=ImportRequest.model_validate(job.request),
        counts=ImportCounts.model_validate(job.counts),
        created_at=job.created_at,
    )
    session.flush()
    lease = {"lease_token": token, "lease_until": _after(lease_s), **values}
    change = update(Job).where(col(Job.id) == job.id).values(**lease)
    session.execute(change.execution_options(synchronize_session=False))
    return claimed


def _change(session: Session, job: ClaimedImport, values: dict[str, Any]) -> bool | None:
    """What ``cancel_requested`` says; None where the lease is another's by now."""
    change = update(Job).where(col(Job.id) == job.job_id, col(Job.lease_token) == job.token).values(**values)
    options = change.returning(col(Job.cancel_requested)).execution_options(synchronize_session=False)
    return session.scalars(options).one_or_none()


def _after(delay_s: float) -> Any:
    return func.now() + timedelta(seconds=delay_s)
