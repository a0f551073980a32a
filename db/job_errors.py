"""The broken rows of jobs, in the order of their lines."""

from __future__ import annotations

from sqlalchemy import func, select, true
from sqlalchemy.orm import Session
from sqlmodel import col

from models.job import JobError


def page(session: Session, job_id: int, after_line: int, limit: int) -> list[JobError]:
    """Up to ``limit`` of them, of those with a line above ``after_line``."""
    query = select(JobError).where(col(JobError.job_id) == job_id, col(JobError.line) > after_line)
    return list(session.scalars(query.order_by(col(JobError.line)).limit(limit)))


def columns(session: Session, job_id: int) -> list[str]:
    """The columns of all of them, each once, in the order in which they first occur."""
    keys = func.json_object_keys(col(JobError.row)).table_valued("name", with_ordinality="place")
    found = keys.render_derived("keys")
    query = select(found.c.name).select_from(JobError).join(found, true())
    first = func.min(col(JobError.line)), func.min(found.c.place)
    query = query.where(col(JobError.job_id) == job_id).group_by(found.c.name).order_by(*first)
    return list(session.scalars(query))
