"""An import that is put beside the service: the feed into the media store, the job into the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.serving import ImportArgs
from configs.settings import Settings
from db import keys
from db.media import MediaStore
from db.session import Database
from models.errors import ConfigurationError, NotFound
from models.import_api import JobDetail
from models.import_job import ImportOptions
from models.job import Job
from scripts.importing.feed_source import FeedSource
from scripts.importing.target import Sent, counted
from scripts.named_database import existing_database
from serve_app.data_directory import DataDirectory
from serve_app.import_feed import ReceivedFeed, enqueue
from serve_app.import_jobs import broken_rows_chunks, view_of
from serve_app.import_progress import job_detail


class Directly:
    """An ImportTarget for one shop. No key, no limit of bytes: who reaches the database runs the service."""

    def __init__(
        self, database: Database, media: MediaStore, shop_id: int, idempotency_key: str | None
    ) -> None:
        self._database, self._media = database, media
        self._shop_id, self._key = shop_id, idempotency_key

    def send(self, source: FeedSource, options: ImportOptions, sent: Sent) -> JobDetail:
        upload = self._media.begin_upload()
        try:
            for chunk in counted(source.chunks(), sent):
                upload.write(chunk)
            upload.seal()
            name = source.path.name[:250] if not source.files else None
            feed = ReceivedFeed(options, upload, name, source.media_type)
            with self._database.transaction() as session:
                job = enqueue(session, ImportArgs(), self._shop_id, feed, self._key)
        finally:
            upload.discard()
        return self.read(_id(job))

    def read(self, job_id: int) -> JobDetail:
        with self._database.transaction() as session:
            return job_detail(view_of(session, self._shop_id, job_id), f"/api/jobs/{job_id}/errors/")

    def errors(self, job_id: int) -> Iterator[bytes]:
        with self._database.transaction() as session:
            yield from broken_rows_chunks(session, self._shop_id, job_id)


@contextmanager
def directly(data_dir: Path | None, email: str, idempotency_key: str | None) -> Iterator[Directly]:
    """Raises ConfigurationError where nothing names database and media store, NotFound for the shop."""
    with existing_database(data_dir) as database:
        media = MediaStore(_media_url(data_dir))
        yield Directly(database, media, _shop_id(database, email), idempotency_key)


def _media_url(data_dir: Path | None) -> str:
    url = Settings().media_url
    if url is None and data_dir is not None:
        directory = DataDirectory(data_dir)
        running = directory.running()
        url = running.media_url if running is not None else (directory.path / "media").as_uri()
    if url is None:
        raise ConfigurationError("No media store is named. Give --data-dir DIR, or set MEDIA_URL.")
    return url


def _shop_id(database: Database, email: str) -> int:
    with database.transaction() as session:
        shop = keys.find_shop(session, email.strip().lower())
        if shop is None or shop.id is None:
            raise NotFound(f"There is no shop with the e-mail address {email}.")
        return shop.id


def _id(job: Job) -> int:
    if job.id is None:
        raise AssertionError("a stored job has an id")
    return job.id
