"""Imports as their shops ask for them, watch them and cancel them; the work on them is in ``db.imports``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, CursorResult, Select, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlmodel import col

from db import webhooks
from db.jobs import WAITING
from db.session import allow_long_statements
from models.image import Image, ImageStatus
from models.import_job import ImportRequest
from models.job import Job, JobKind, JobStatus

MAX_ID = 2**31 - 1
BATCH_JOBS = 50


@dataclass(frozen=True)
class OnceOnly:
    """A client's key for a request, and what tells that request from others."""

    key: str
    request_sha256: str


def add(session: Session, shop_id: int, request: ImportRequest, once: OnceOnly | None) -> Job | None:
    """A new import in the queue; None where the shop used the key already, at the same moment too."""
    values = {
        "shop_id": shop_id,
        "kind": JobKind.IMPORT,
        "status": JobStatus.QUEUED,
        "request": request.model_dump(mode="json"),
        "attempts": 0,
        "idempotency_key": once.key if once is not None else None,
        "request_sha256": once.request_sha256 if once is not None else None,
    }
    given = text("idempotency_key IS NOT NULL")
    new = insert(Job).values(**values)
    new = new.on_conflict_do_nothing(index_elements=["shop_id", "idempotency_key"], index_where=given)
    return session.scalars(new.returning(Job)).one_or_none()


def with_key(session: Session, shop_id: int, key: str) -> Job | None:
    """The job that the shop asked for with that key."""
    query = _of_shop(shop_id).where(col(Job.idempotency_key) == key)
    return session.scalars(query).one_or_none()


def count_waiting(session: Session, shop_id: int) -> int:
    """The shop's imports that are not finished."""
    own = _own(shop_id), col(Job.status).in_(WAITING)
    return session.scalar(select(func.count()).select_from(Job).where(*own)) or 0


def get(session: Session, shop_id: int, job_id: int) -> Job | None:
    """One import of the shop."""
    if not 0 < job_id <= MAX_ID:
        return None
    return session.scalars(_of_shop(shop_id).where(col(Job.id) == job_id)).one_or_none()


def page(session: Session, shop_id: int, after_id: int | None, limit: int) -> list[Job]:
    """Up to ``limit`` imports, newest first, of those with an id below ``after_id``."""
    query = _of_shop(shop_id).order_by(col(Job.id).desc()).limit(limit)
    return list(session.scalars(query if after_id is None else query.where(col(Job.id) < after_id)))


def count_indexing(session: Session, job_ids: Collection[int]) -> dict[int, int]:
    """How many photos of each job wait for their vector; jobs without any are left out."""
    waiting = col(Image.status).in_([ImageStatus.PENDING, ImageStatus.PROCESSING])
    query = select(col(Image.import_job_id), func.count()).where(
        col(Image.import_job_id).in_(job_ids), waiting
    )
    rows = session.execute(query.group_by(col(Image.import_job_id))).all() if job_ids else []
    return {row[0]: row[1] for row in rows if row[0] is not None}


def cancel(session: Session, job_id: int) -> bool:
    """Cancel any import that is not finished; false where there is none. A new one ends here and now.

    One that was begun is ended by whoever works on it.
    """
    own = col(Job.id) == job_id, col(Job.kind) == JobKind.IMPORT
    query = select(Job).where(*own, col(Job.status).in_(WAITING)).with_for_update()
    job = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if job is None:
        return False
    job.cancel_requested = True
    session.flush()
    if job.status is JobStatus.QUEUED and job.phase is None:
        job.status, job.finished_at = JobStatus.CANCELLED, datetime.now(UTC)
        session.flush()
        webhooks.announce(session, job)
    return True


def expired(session: Session, keep_days: int) -> list[Job]:
    """Some imports that ended more than ``keep_days`` ago."""
    ended = col(Job.finished_at) < func.now() - timedelta(days=keep_days)
    query = select(Job).where(col(Job.kind) == JobKind.IMPORT, col(Job.status).not_in(WAITING), ended)
    return list(session.scalars(query.order_by(col(Job.id)).limit(BATCH_JOBS)))


def remove(session: Session, job_ids: Collection[int]) -> int:
    """Remove jobs with what is noted of their rows; how many."""
    allow_long_statements(session)
    gone = delete(Job).where(col(Job.id).in_(job_ids)).execution_options(synchronize_session=False)
    result = session.execute(gone)
    return result.rowcount if isinstance(result, CursorResult) else 0


def _of_shop(shop_id: int) -> Select[Job]:
    return select(Job).where(_own(shop_id)).execution_options(populate_existing=True)


def _own(shop_id: int) -> ColumnElement[bool]:
    return (col(Job.shop_id) == shop_id) & (col(Job.kind) == JobKind.IMPORT)
