"""Imports as their shop follows and cancels them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from db import import_requests, job_errors
from db.media import MediaStore, source_folder
from models.errors import Conflict, DependencyUnavailable, NotFound
from models.import_job import ImportCounts, ImportRequest
from models.job import Job, JobError, JobStatus
from serve_app.feeds.broken_rows import BrokenRowsCsv, WrittenRow
from serve_app.services import Services

logger = logging.getLogger("serve_app")
PAGE_ROWS = 200


@dataclass(frozen=True)
class ImportView:
    """A job, and how many of its photos wait for their vector."""

    job: Job
    indexing: int

    @property
    def job_id(self) -> int:
        if self.job.id is None:
            raise AssertionError("a stored row has an id")
        return self.job.id

    @property
    def request(self) -> ImportRequest:
        return ImportRequest.model_validate(self.job.request)

    @property
    def counts(self) -> ImportCounts:
        return ImportCounts.model_validate(self.job.counts)


async def get_import(services: Services, shop_id: int, job_id: int) -> ImportView:
    """Raises NotFound, for another shop's too."""
    return await services.database.read(lambda session: view_of(session, shop_id, job_id))


async def list_imports(
    services: Services, shop_id: int, after_id: int | None, limit: int
) -> list[ImportView]:
    """Newest first."""

    def page(session: Session) -> list[ImportView]:
        return _views(session, import_requests.page(session, shop_id, after_id, limit))

    return await services.database.read(page)


async def cancel_import(services: Services, shop_id: int, job_id: int) -> ImportView:
    """Raises NotFound, Conflict where it is finished."""

    def cancel(session: Session) -> ImportView:
        before = view_of(session, shop_id, job_id)
        if not import_requests.cancel(session, job_id):
            raise Conflict(f"Job {job_id} is {before.job.status.value}: there is nothing left to cancel.")
        return view_of(session, shop_id, job_id)

    view = await services.database.run(cancel)
    if view.job.status is JobStatus.CANCELLED:
        await asyncio.to_thread(forget_source, services.media, view.request.source)
    return view


def forget_source(media: MediaStore, source: str) -> None:
    """Remove a feed that nobody reads any more; one that cannot be removed now goes with its job."""
    try:
        media.delete_tree(source_folder(source))
    except DependencyUnavailable:
        logger.warning("the feed %s could not be removed", source)


async def list_errors(
    services: Services, shop_id: int, job_id: int, after_line: int, limit: int
) -> Sequence[JobError]:
    """Broken rows with a line above ``after_line``. Raises NotFound."""

    def page(session: Session) -> Sequence[JobError]:
        _require(session, shop_id, job_id)
        return job_errors.page(session, job_id, after_line, limit)

    return await services.database.read(page)


async def broken_rows_csv(services: Services, shop_id: int, job_id: int) -> AsyncIterator[bytes]:
    """All broken rows as a file that can be corrected and sent again, in chunks. Raises NotFound."""

    def columns(session: Session) -> list[str]:
        _require(session, shop_id, job_id)
        return job_errors.columns(session, job_id)

    written = BrokenRowsCsv(await services.database.run(columns))
    return _csv(services, job_id, written)


async def _csv(services: Services, job_id: int, written: BrokenRowsCsv) -> AsyncIterator[bytes]:
    yield _head(written)
    after_line = 0
    while True:
        page = partial(job_errors.page, job_id=job_id, after_line=after_line, limit=PAGE_ROWS)
        rows = await services.database.read(page)
        if not rows:
            return
        yield await asyncio.to_thread(_lines, written, rows)
        after_line = rows[-1].line


def broken_rows_chunks(session: Session, shop_id: int, job_id: int) -> Iterator[bytes]:
    """The same within a transaction."""
    _require(session, shop_id, job_id)
    written = BrokenRowsCsv(job_errors.columns(session, job_id))
    yield _head(written)
    after_line = 0
    while rows := job_errors.page(session, job_id, after_line, PAGE_ROWS):
        yield _lines(written, rows)
        after_line = rows[-1].line


def _head(written: BrokenRowsCsv) -> bytes:
    """With the mark without which spreadsheets take text for that of their own country."""
    return ("\N{ZERO WIDTH NO-BREAK SPACE}" + written.header()).encode()


def _lines(written: BrokenRowsCsv, rows: Sequence[JobError]) -> bytes:
    found = (WrittenRow(row.line, row.code, row.reason, row.row) for row in rows)
    return "".join(written.lines(found)).encode()


def view_of(session: Session, shop_id: int, job_id: int) -> ImportView:
    """The same within a transaction."""
    return _views(session, [_require(session, shop_id, job_id)])[0]


def _require(session: Session, shop_id: int, job_id: int) -> Job:
    job = import_requests.get(session, shop_id, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id} in this shop.")
    return job


def _views(session: Session, jobs: Sequence[Job]) -> list[ImportView]:
    begun = [job.id for job in jobs if job.phase is not None and job.id is not None]
    indexing = import_requests.count_indexing(session, begun)
    return [ImportView(job, indexing.get(job.id or 0, 0)) for job in jobs]
