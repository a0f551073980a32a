"""Follow a job to its end: as a bar, or as lines of JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from models.import_api import JobDetail
from models.job import JobStatus
from scripts.console import log, out
from scripts.importing.target import ImportTarget, Sent

POLL_S = 0.5
WAITING = {JobStatus.QUEUED, JobStatus.RUNNING}


@contextmanager
def sending(size_bytes: int, *, quiet: bool) -> Iterator[Sent]:
    """A bar of the bytes."""
    columns = TextColumn("{task.description:<9}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
    with Progress(*columns, console=log, disable=quiet) as bar:
        task = bar.add_task("Sending", total=size_bytes)
        yield lambda sent: bar.update(task, completed=min(sent, size_bytes))
        bar.update(task, completed=size_bytes)


def followed(target: ImportTarget, job: JobDetail, *, as_json: bool) -> JobDetail:
    """The job once it has ended. With ``as_json`` each change is a line of standard output."""
    columns = (
        *(TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[said]}"), TimeElapsedColumn()),
    )
    with Progress(*columns, console=log, disable=as_json) as bar:
        bar.add_task("Waiting", total=None, said="")
        while True:
            _show(bar, job)
            if as_json:
                print_json(job)
            if job.status not in WAITING:
                return job
            job = _next(target, job)


def print_json(job: JobDetail) -> None:
    out.print(job.model_dump_json(), markup=False)


def summary(job: JobDetail) -> str:
    """The end in a sentence."""
    counts = job.counts
    figures = ", ".join(
        f"{value:,} {name}"
        for name, value in counts.model_dump().items()
        if name in {"created", "updated", "unchanged", "failed", "removed"} and (value or name == "failed")
    )
    reason = f": {job.error.detail}" if job.error is not None else ""
    if job.status is JobStatus.SUCCEEDED and not counts.rows:
        reason = ", but its feed has no rows: check what wrote it"
    return f"Job {job.id} {job.status.value}{reason} ({counts.rows or counts.checked:,} rows: {figures})."


def _next(target: ImportTarget, before: JobDetail) -> JobDetail:
    """Once something has changed but the clock."""
    while True:
        time.sleep(POLL_S)
        job = target.read(before.id)
        if _state(job) != _state(before):
            return job


def _state(job: JobDetail) -> object:
    return job.model_dump(exclude={"rate_per_s", "eta_s"})


def _show(bar: Progress, job: JobDetail) -> None:
    counts = job.counts
    done = counts.created + counts.updated + counts.unchanged + counts.failed - counts.indexing
    if counts.rows is None:
        done = counts.checked
    left = f"{job.eta_s:,.0f} s left" if job.eta_s is not None else ""
    said = "; ".join(part for part in (left, f"{counts.failed:,} broken" if counts.failed else "") if part)
    what = (job.phase or job.status).value.capitalize()
    bar.update(bar.task_ids[0], description=what, total=counts.rows, completed=max(done, 0), said=said)
