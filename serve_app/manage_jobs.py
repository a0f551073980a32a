"""Longer work, as staff set it going again."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db import audit, import_requests, jobs
from models.staff import Staff


def retry_job(session: Session, staff: Staff, job_id: int) -> bool:
    """Queue a failed job again; false where it did not fail."""
    if not jobs.retry(session, job_id):
        return False
    audit.record(session, staff, "job.retry", job_id, before="failed", after="queued")
    return True


def cancel_job(session: Session, staff: Staff, job_id: int) -> bool:
    """Cancel an import; false where it is none, or finished."""
    if not import_requests.cancel(session, job_id):
        return False
    audit.record(session, staff, "job.cancel", job_id, before="waiting", after="cancelled")
    return True
