"""The durable queue of longer work: leases on rows of ``job``, as ``db.work`` has them for photos."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from models.job import Job, JobKind, JobStatus

MAX_ERROR_CHARACTERS = 1000
WAITING = (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True)
class ClaimedJob:
    """A job under the lease of ``token``; ``counts`` is what earlier attempts have saved."""

    job_id: int
    shop_id: int
    token: str
    counts: dict[str, Any]
    request: dict[str, Any] = field(default_factory=dict)


def add(session: Session, kind: JobKind, shop_id: int, request: dict[str, Any] | None = None) -> Job:
    """A new job in the queue."""
    job = Job(kind=kind, shop_id=shop_id, request=request or {})
    session.add(job)
    session.flush()
    return job


def get(session: Session, kind: JobKind, job_id: int) -> Job | None:
    """One job of that kind, whoever it belongs to."""
    if not 0 < job_id < 2**31:
        return None
    return session.scalars(select(Job).where(col(Job.id) == job_id, col(Job.kind) == kind)).one_or_none()


def of_shop(session: Session, shop_id: int) -> list[Job]:
    """All jobs of the shop, oldest first."""
    return list(session.scalars(select(Job).where(col(Job.shop_id) == shop_id).order_by(col(Job.id))))


def newest(session: Session, kind: JobKind, shop_id: int) -> Job | None:
    """The shop's newest job of that kind."""
    query = select(Job).where(col(Job.kind) == kind, col(Job.shop_id) == shop_id)
    return session.scalars(query.order_by(col(Job.id).desc()).limit(1)).one_or_none()


def claim(session: Session, kind: JobKind, *, lease_s: float, max_attempts: int) -> ClaimedJob | None:
    """Lease the oldest job that waits. One whose workers died ``max_attempts`` times becomes ``failed``."""
    job = session.scalars(_claimable(kind)).one_or_none()
    if job is None:
        return None
    if job.attempts >= max_attempts:
        reason = job.error or "the work on it stopped each time without a reason"
        _end(job, JobStatus.FAILED, f"gave up after {job.attempts} attempts: {reason}")
        return None
    token = secrets.token_hex(16)
    change = update(Job).where(col(Job.id) == job.id)
    values: dict[str, Any] = {
        "status": JobStatus.RUNNING,
        "attempts": col(Job.attempts) + 1,
        "lease_token": token,
        "lease_until": _after(lease_s),
        "started_at": func.coalesce(col(Job.started_at), func.now()),
    }
    session.execute(change.values(**values).execution_options(synchronize_session=False))
    if job.id is None or job.shop_id is None:
        raise AssertionError("a stored job has an id and a shop")
    return ClaimedJob(job.id, job.shop_id, token, dict(job.counts), dict(job.request))


def save(session: Session, job: ClaimedJob, counts: dict[str, Any], lease_s: float) -> bool:
    """Keep the progress and prolong the lease; false where the lease is another's by now."""
    return _change(session, job, counts=counts, lease_until=_after(lease_s))


def release(session: Session, job: ClaimedJob, *, delay_s: float, error: str | None) -> None:
    """Back to the queue for ``delay_s`` at least; the attempt is not counted: nothing went wrong with it."""
    _change(
        session,
        job,
        status=JobStatus.QUEUED,
        attempts=func.greatest(col(Job.attempts) - 1, 0),
        lease_token=None,
        lease_until=_after(delay_s),
        error=error[:MAX_ERROR_CHARACTERS] if error is not None else None,
    )


def finish(session: Session, job: ClaimedJob, counts: dict[str, Any]) -> bool:
    """Mark it as succeeded; false where the lease is another's by now."""
    return _change(
        session,
        job,
        status=JobStatus.SUCCEEDED,
        counts=counts,
        error=None,
        lease_token=None,
        lease_until=None,
        finished_at=func.now(),
    )


def retry(session: Session, job_id: int) -> bool:
    """Queue a failed job again; false where there is no such failed job.

    An import is sent again by its shop instead: what it was to read is gone. A reindex is gone on with by
    whoever gives its command again.
    """
    others = [JobKind.IMPORT, JobKind.REINDEX]
    failed = col(Job.status) == JobStatus.FAILED, col(Job.kind).not_in(others)
    change = update(Job).where(col(Job.id) == job_id, *failed)
    values: dict[str, Any] = {"status": JobStatus.QUEUED, "attempts": 0, "error": None, "finished_at": None}
    return session.execute(change.values(**values).returning(col(Job.id))).one_or_none() is not None


def _claimable(kind: JobKind) -> Select[Job]:
    free = or_(col(Job.lease_until).is_(None), col(Job.lease_until) < func.now())
    query = select(Job).where(col(Job.kind) == kind, col(Job.status).in_(WAITING), free)
    return query.order_by(col(Job.id)).limit(1).with_for_update(skip_locked=True)


def _change(session: Session, job: ClaimedJob, **values: Any) -> bool:
    change = update(Job).where(col(Job.id) == job.job_id, col(Job.lease_token) == job.token).values(**values)
    options = change.returning(col(Job.id)).execution_options(synchronize_session=False)
    return session.execute(options).one_or_none() is not None


def _end(job: Job, status: JobStatus, error: str) -> None:
    job.status, job.error = status, error[:MAX_ERROR_CHARACTERS]
    job.lease_token = job.lease_until = None
    job.finished_at = datetime.now(UTC)


def _after(delay_s: float) -> Any:
    return func.now() + timedelta(seconds=delay_s)
