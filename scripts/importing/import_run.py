"""Parts sent one after the other, each followed to its end."""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import AppError, InvalidInput
from models.import_api import JobDetail
from models.import_job import ImportOptions
from models.job import JobStatus
from scripts.console import log, out
from scripts.importing.broken_rows_file import BrokenRowsFile
from scripts.importing.feed_source import FeedSource
from scripts.importing.target import ImportTarget
from scripts.importing.watch import followed, print_json, sending, summary

STOPPED = 130
DONE, INCOMPLETE = 0, 1


class ImportRun:
    """``is_followed``: whether a job is waited for."""

    def __init__(self, target: ImportTarget, broken: BrokenRowsFile | None, *, as_json: bool) -> None:
        self._target, self._broken, self._as_json = target, broken, as_json
        self.is_followed = True

    def import_parts(self, parts: Sequence[FeedSource], options: ImportOptions, first: int) -> int:
        """The exit status: of the worst part. ``first`` counts from 1. Raises AppError, OSError."""
        if not 1 <= first <= len(parts):
            raise InvalidInput(f"--from-part {first}: there are {len(parts)} parts.")
        worst = DONE
        for number, part in enumerate(parts[first - 1 :], start=first):
            if len(parts) > 1:
                log.print(f"Part {number} of {len(parts)}; to go on from here: --from-part {number}")
            status = self._import(part, options)
            if status == STOPPED:
                return status
            worst = max(worst, status)
        return worst

    def follow(self, job: JobDetail) -> int:
        """The exit status. Raises AppError."""
        try:
            job = followed(self._target, job, as_json=self._as_json)
        except (KeyboardInterrupt, AppError) as error:
            log.print(f"Job {job.id} goes on without this script. To follow it again: --job {job.id}")
            if isinstance(error, AppError):
                raise
            return STOPPED
        if not self._as_json:
            out.print(summary(job), markup=False)
        if job.counts.failed:
            self._keep_broken(job)
        return DONE if job.status is JobStatus.SUCCEEDED and not job.counts.failed else INCOMPLETE

    def _import(self, part: FeedSource, options: ImportOptions) -> int:
        with sending(part.size_bytes, quiet=self._as_json) as sent:
            job = self._target.send(part, options, sent)
        if self.is_followed:
            return self.follow(job)
        if self._as_json:
            print_json(job)
        else:
            out.print(f"Job {job.id} is {job.status.value}. To follow it: --job {job.id}")
        return DONE

    def _keep_broken(self, job: JobDetail) -> None:
        if self._broken is not None:
            return self._broken.add(self._target.errors(job.id))
        log.print(
            f"{job.counts.failed:,} rows are broken: --job {job.id} --errors FILE writes them as CSV.",
            markup=False,
        )
