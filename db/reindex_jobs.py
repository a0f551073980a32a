"""Reindexing as a job: its lease is held by the one driver that works on the index versions.

It belongs to no shop, and no worker of the service takes it up: whoever runs ``scripts.reindex`` does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session
from sqlmodel import col

from db.jobs import MAX_ERROR_CHARACTERS, WAITING
from models.errors import Conflict
from models.job import Job, JobKind, JobStatus

LOCK = 4_811_005


@dataclass(frozen=True)
class ClaimedReindex:
    """The job under the lease of ``token``; ``counts``: what a former driver had noted."""

    job_id: int
    token: str
    counts: dict[str, Any] = field(default_factory=dict)


def start(session: Session, request: dict[str, Any], lease_s: float) -> ClaimedReindex:
    """Take the lease. A job whose driver died is gone on with where it was to do the same, else it ends as
    failed. Raises Conflict while another driver holds the lease."""
    session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    if held_until(session) is not None:
        raise Conflict("Another reindexing command is at work. Wait for its end, or stop it first.")
    job = session.scalars(_open()).one_or_none()
    if job is not None and job.request != request:
        job.status, job.error = JobStatus.FAILED, "its driver ended without a word"
        job.lease_token = job.lease_until = None
        session.flush()
        job = None
    if job is None:
        job = Job(kind=JobKind.REINDEX, request=request)
        session.add(job)
        session.flush()
    if job.id is None:
        raise AssertionError("a stored job has an id")
    claimed = ClaimedReindex(job.id, secrets.token_hex(16), dict(job.counts))
    values: dict[str, Any] = {
        "status": JobStatus.RUNNING,
        "attempts": col(Job.attempts) + 1,
        "error": None,
        "lease_token": claimed.token,
        "lease_until": _after(lease_s),
        "started_at": func.coalesce(col(Job.started_at), func.now()),
    }
    change = update(Job).where(col(Job.id) == job.id).values(**values)
    session.execute(change.execution_options(synchronize_session=False))
    return claimed


def held_until(session: Session) -> datetime | None:
    """The end of the lease that a driver holds now; None where none does."""
    job = session.scalars(_open().where(col(Job.lease_until) > func.now())).one_or_none()
    return job.lease_until if job is not None else None


def save(session: Session, claimed: ClaimedReindex, counts: dict[str, Any], lease_s: float) -> bool:
    """Keep the progress and prolong the lease; false where it is another's by now."""
    return _change(session, claimed, counts=counts, lease_until=_after(lease_s))


def finish(
    session: Session,
    claimed: ClaimedReindex,
    status: JobStatus,
    counts: dict[str, Any],
    error: str | None = None,
) -> bool:
    """End it; false where the lease is another's by now."""
    return _change(
        session,
        claimed,
        status=status,
        counts=counts,
        error=error and error[:MAX_ERROR_CHARACTERS],
        lease_token=None,
        lease_until=None,
        finished_at=func.now(),
    )


def newest(session: Session) -> Job | None:
    """The one that was begun last."""
    query = select(Job).where(col(Job.kind) == JobKind.REINDEX)
    return session.scalars(query.order_by(col(Job.id).desc()).limit(1)).one_or_none()


def _open() -> Select[Job]:
    own = col(Job.kind) == JobKind.REINDEX, col(Job.status).in_(WAITING)
    return select(Job).where(*own).order_by(col(Job.id).desc()).limit(1)


def _change(session: Session, claimed: ClaimedReindex, **values: Any) -> bool:
    own = col(Job.id) == claimed.job_id, col(Job.lease_token) == claimed.token
    change = update(Job).where(*own).values(**values).returning(col(Job.id))
    return session.scalar(change.execution_options(synchronize_session=False)) is not None


def _after(delay_s: float) -> Any:
    return func.now() + timedelta(seconds=delay_s)
