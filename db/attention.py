"""What waits and what failed, over all shops: the first thing that staff look at."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from db import work
from models.job import Job, JobStatus
from models.mail import Mail, MailStatus


@dataclass(frozen=True)
class Attention:
    """Counts: of photos by their partial indexes; mails and jobs are short tables."""

    photos_waiting: int
    photos_failed: int
    mails_waiting: int
    mails_failed: int
    jobs_waiting: int
    jobs_failed: int


def attention(session: Session) -> Attention:
    photos = work.backlog(session)
    mails, jobs = _of_mails(session), _of_jobs(session)
    return Attention(
        photos_waiting=photos.pending + photos.processing,
        photos_failed=photos.failed,
        mails_waiting=mails.get(MailStatus.QUEUED, 0),
        mails_failed=mails.get(MailStatus.FAILED, 0),
        jobs_waiting=jobs.get(JobStatus.QUEUED, 0) + jobs.get(JobStatus.RUNNING, 0),
        jobs_failed=jobs.get(JobStatus.FAILED, 0),
    )


def _of_mails(session: Session) -> dict[MailStatus, int]:
    status = col(Mail.status)
    query = select(status, func.count()).where(status.in_([MailStatus.QUEUED, MailStatus.FAILED]))
    return {row[0]: row[1] for row in session.execute(query.group_by(status))}


def _of_jobs(session: Session) -> dict[JobStatus, int]:
    status = col(Job.status)
    open_ones = [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED]
    query = select(status, func.count()).where(status.in_(open_ones)).group_by(status)
    return {row[0]: row[1] for row in session.execute(query)}
