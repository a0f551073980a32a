"""Imports without HTTP and, where a test wants it, without Ray: a feed, its job, its work."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlmodel import col

from configs.serving import FetchArgs, ImportArgs, IndexerArgs
from db import imports, jobs
from db.imports import ClaimedImport
from db.media import MediaStore, new_source_key, source_folder
from db.session import Database
from models.image import Image, ImageStatus
from models.import_job import ImportRequest
from models.job import Job, JobError, JobKind
from serve_app.import_photos.close_import import close_import
from serve_app.import_photos.parts import Batch, BatchResult, ImportParts, Step
from serve_app.import_photos.run_import import run_import
from serve_app.import_photos.store_rows import check_rows, store_rows
from serve_app.photo_quota import PhotoQuota
from serve_app.photos import PhotoLimits
from tests.shop_client import ShopClient, base64_text
from tests.stack import Stack

Cells = Mapping[str, Any]


def csv_feed(rows: Iterable[Cells]) -> bytes:
    """The columns are those of the first row; bytes become base64."""
    written = [{name: _cell(value) for name, value in row.items()} for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(written[0]))
    writer.writeheader()
    writer.writerows(written)
    return text.getvalue().encode()


def zip_feed(rows: Iterable[Cells]) -> bytes:
    """The photos as files beside the CSV."""
    packed, named = io.BytesIO(), []
    with zipfile.ZipFile(packed, "w") as archive:
        for row in rows:
            name = f"photos/{row['sku']}.jpg"
            archive.writestr(name, row["photo"])
            named.append({**row, "photo": name})
        archive.writestr("feed.csv", csv_feed(named))
    return packed.getvalue()


def _cell(value: Any) -> Any:
    return base64_text(value) if isinstance(value, bytes) else value


def request_of(source: str, feed: bytes, **options: Any) -> ImportRequest:
    return ImportRequest(source=source, size_bytes=len(feed), sha256=sha256(feed).hexdigest(), **options)


def send(database: Database, media: MediaStore, shop_id: int, feed: bytes, **options: Any) -> int:
    """The feed in its place and the job in the queue; the job's id."""
    key = new_source_key(shop_id)
    media.save(key, feed)
    with database.transaction() as session:
        request = request_of(key, feed, **options).model_dump(mode="json")
        job = jobs.add(session, JobKind.IMPORT, shop_id, request)
        assert job.id is not None
        return job.id


@dataclass
class InProcess:
    """Batches carried out when they are asked for. ``before``: called with each one."""

    parts: ImportParts
    job: ClaimedImport
    before: Callable[[Batch], None] = lambda _: None
    waiting: list[Batch] = field(default_factory=list)

    def start(self, batch: Batch) -> None:
        self.waiting.append(batch)

    def running(self) -> int:
        return len(self.waiting)

    def finished(self, timeout_s: float) -> list[BatchResult]:
        assert timeout_s > 0
        batch = self.waiting.pop(0)
        self.before(batch)
        work = check_rows if batch.step is Step.CHECK else store_rows
        return [work(self.parts, self.job, batch)]


@dataclass(frozen=True)
class ImportHarness:
    """One shop's imports, in this process."""

    parts: ImportParts
    directory: Path
    shop_id: int

    def send(self, rows: Iterable[Cells] | bytes, **options: Any) -> int:
        feed = rows if isinstance(rows, bytes) else csv_feed(rows)
        return send(self.parts.database, self.parts.media, self.shop_id, feed, **options)

    def claim(self) -> ClaimedImport | None:
        args = self.parts.indexer
        with self.parts.database.transaction() as session:
            return imports.claim(session, lease_s=args.lease_s, max_attempts=args.max_attempts)

    def work(self, before: Callable[[Batch], None] = lambda _: None) -> bool:
        """One slice of the job whose turn it is."""
        job = self.claim()
        assert job is not None
        return run_import(self.parts, job, InProcess(self.parts, job, before))

    def index(self) -> None:
        """What the model does."""
        with self.parts.database.transaction() as session:
            own = col(Image.shop_id) == self.shop_id, col(Image.status) == ImageStatus.PENDING
            session.execute(update(Image).where(*own).values(status=ImageStatus.EMBEDDED))

    def close(self) -> bool:
        with self.parts.database.transaction() as session:
            closing = imports.claim_closing(session, self.parts.indexer.lease_s)
        return closing is not None and close_import(self.parts.database, self.parts.media, closing)

    def run(self, rows: Iterable[Cells] | bytes, **options: Any) -> Job:
        """From the first line to the end."""
        job_id = self.send(rows, **options)
        assert self.work()
        self.index()
        assert self.close()
        return self.job(job_id)

    def job(self, job_id: int) -> Job:
        with self.parts.database.transaction() as session:
            return session.get_one(Job, job_id)

    def errors(self, job_id: int) -> list[JobError]:
        with self.parts.database.transaction() as session:
            query = select(JobError).where(col(JobError.job_id) == job_id)
            return list(session.scalars(query.order_by(col(JobError.line))))

    def photos(self) -> dict[str, Image]:
        """By sku, those that live."""
        with self.parts.database.transaction() as session:
            own = col(Image.shop_id) == self.shop_id, col(Image.status) != ImageStatus.DELETING
            return {image.sku: image for image in session.scalars(select(Image).where(*own))}

    def files(self) -> set[str]:
        """Keys of the shop's files."""
        own = (self.directory / "shops" / str(self.shop_id)).rglob("*")
        return {str(path.relative_to(self.directory)) for path in own if path.is_file()}

    def source_is_gone(self, job: Job) -> bool:
        folder = source_folder(ImportRequest.model_validate(job.request).source)
        return not any(key.startswith(folder) for key in self.files())


def import_parts(database: Database, directory: Path, **args: Any) -> ImportParts:
    """``args``: of ImportArgs."""
    return ImportParts(
        database=database,
        media=MediaStore(directory.as_uri()),
        quota=PhotoQuota(None),
        photos=PhotoLimits(),
        args=ImportArgs(**args),
        fetch=FetchArgs(),
        indexer=IndexerArgs(retry_delay_s=0.001),
    )


def counts_of(job: Job | Mapping[str, Any]) -> dict[str, int]:
    """Those that are not zero."""
    counts = job.counts if isinstance(job, Job) else job["counts"]
    return {name: value for name, value in counts.items() if value}


def send_to(stack: Stack, shop: ShopClient, feed: bytes, **options: Any) -> int:
    """A job of a running service; its id."""
    database = Database(stack.database_url, connections=1)
    try:
        return send(database, stack.media, shop.shop_id, feed, **options)
    finally:
        database.close()


def wait_for_end(stack: Stack, job_id: int, patience_s: float = 120.0) -> dict[str, Any]:
    """The job's row, once it has one."""
    deadline = time.monotonic() + patience_s
    query = "SELECT status, phase, counts, error, attempts FROM job WHERE id = :id"
    while True:
        ((status, phase, counts, error, attempts),) = stack.execute(query, id=job_id)
        if status in ("succeeded", "failed", "cancelled"):
            return {"status": status, "phase": phase, "counts": counts, "error": error}
        assert time.monotonic() < deadline, (status, phase, counts, error, attempts)
        time.sleep(0.1)
