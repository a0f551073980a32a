"""How far an import is, in the words and figures that its shop reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from models.errors import AppError, DependencyUnavailable
from models.import_api import JobCounts, JobDetail, JobProblem
from models.import_job import ImportOptions, ImportPhase
from models.job import Job, JobStatus
from serve_app.import_jobs import ImportView


@dataclass(frozen=True)
class Speed:
    """``rate_per_s``: rows a second; ``eta_s``: seconds until the end. None where nobody can tell."""

    rate_per_s: float | None = None
    eta_s: float | None = None


def job_detail(view: ImportView, errors_address: str) -> JobDetail:
    """All that its shop sees."""
    job, request, now = view.job, view.request, datetime.now(UTC)
    speed = speed_of(view, now)
    return JobDetail(
        id=view.job_id,
        **job.model_dump(include={"kind", "cancel_requested", "started_at", "finished_at"}),
        status=status_of(job),
        phase=job.phase if job.finished_at is None else None,
        options=ImportOptions(**request.model_dump(include=set(ImportOptions.model_fields))),
        **request.model_dump(include={"file_name", "size_bytes", "sha256"}),
        counts=counts_of(view),
        rate_per_s=speed.rate_per_s,
        eta_s=speed.eta_s,
        error=problem_of(job),
        errors=errors_address,
        created_at=job.created_at or now,
    )


def status_of(job: Job) -> JobStatus:
    """Between its turns a job is in the queue; for its shop it runs."""
    waits_for_turn = job.status is JobStatus.QUEUED and job.phase is not None
    return JobStatus.RUNNING if waits_for_turn else job.status


def counts_of(view: ImportView) -> JobCounts:
    counts = view.counts
    return JobCounts(
        rows=counts.total,
        **counts.model_dump(include={"checked", "created", "updated", "unchanged", "failed", "removed"}),
        indexed=max(counts.photos - view.indexing, 0),
        indexing=view.indexing,
    )


def problem_of(job: Job) -> JobProblem | None:
    """Why it failed; before its end: what it waits for."""
    if job.error is None:
        return None
    code = AppError.code if job.status is JobStatus.FAILED else DependencyUnavailable.code
    return JobProblem(code=job.error_code or code, detail=job.error)


def speed_of(view: ImportView, now: datetime) -> Speed:
    """While the feed is read: the rows read a second. Then: those that are done with, indexing included, over
    the time since the job began, and what is left at that rate."""
    job, counts = view.job, view.counts
    if job.started_at is None or status_of(job) is not JobStatus.RUNNING:
        return Speed(rate_per_s=_overall(view))
    if counts.total is None or job.phase is ImportPhase.CHECKING:
        return Speed(rate_per_s=counts.rows_per_s)
    done, elapsed_s = counts.settled - view.indexing, (now - job.started_at).total_seconds()
    if done <= 0 or elapsed_s <= 0:
        return Speed()
    rate_per_s = done / elapsed_s
    return Speed(round(rate_per_s, 1), round(max(counts.total - done, 0) / rate_per_s, 1))


def _overall(view: ImportView) -> float | None:
    job = view.job
    if job.status is not JobStatus.SUCCEEDED or job.started_at is None or job.finished_at is None:
        return None
    duration_s = (job.finished_at - job.started_at).total_seconds()
    return round(view.counts.settled / duration_s, 1) if duration_s > 0 else None
