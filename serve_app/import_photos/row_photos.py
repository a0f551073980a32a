"""The photos of a batch of rows: from the ZIP, from base64, or fetched, many at once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from configs.serving import FetchArgs
from db.images import KnownPhoto
from db.imports import ClaimedImport
from db.media import source_folder
from models.errors import AppError, NotFound
from models.feed import FeedRow, PhotoData, PhotoFile, PhotoUrl
from serve_app.feeds.photo_sources import decoded_photo
from serve_app.feeds.zip_directory import zipped_photo
from serve_app.import_photos.parts import Batch, ImportParts, Step
from serve_app.outbound.photos import Fetched, NotModified, PhotoFetcher


@dataclass(frozen=True, slots=True)
class RowPhoto:
    """A photo's bytes; ``source_url``: where they were fetched."""

    data: bytes
    sha256: str
    source_url: str | None = None
    source_etag: str | None = None


# None: the row leaves the photo as it is. An error: the row is broken.
Found = RowPhoto | AppError | None


class RowPhotos:
    """Reads the photos of one batch."""

    def __init__(self, parts: ImportParts, job: ClaimedImport, batch: Batch) -> None:
        self._parts, self._job, self._batch = parts, job, batch
        self.kept_bytes = 0

    def load(self, known: Mapping[str, KnownPhoto]) -> dict[int, Found]:
        """By line. Raises DependencyUnavailable where the media store does not answer."""
        found: dict[int, Found] = {row.line: None for row in self._batch.rows}
        with self._source() as source:
            for row in self._batch.rows:
                if not isinstance(row.photo, PhotoUrl | None):
                    found[row.line] = self._read(source, row.photo)
        return found | self._fetched(
            [row for row in self._batch.rows if isinstance(row.photo, PhotoUrl)], known
        )

    @contextmanager
    def _source(self) -> Iterator[BinaryIO | None]:
        """The feed's file, where photos lie in it."""
        if not any(isinstance(row.photo, PhotoFile) for row in self._batch.rows):
            yield None
            return
        with self._parts.media.open(self._job.request.source) as source:
            yield source

    def _read(self, source: BinaryIO | None, photo: PhotoFile | PhotoData) -> Found:
        try:
            if isinstance(photo, PhotoData):
                return _of(decoded_photo(photo, self._parts.photos.max_bytes))
            if source is None:
                raise AssertionError("a ZIP that holds photos is open")
            return _of(zipped_photo(source, photo))
        except AppError as error:
            return _broken(error)

    def _fetched(self, rows: Sequence[FeedRow], known: Mapping[str, KnownPhoto]) -> dict[int, Found]:
        kept = {row.line: self._kept(row) for row in rows} if self._batch.step is Step.STORE else {}
        missing = [row for row in rows if kept.get(row.line) is None]
        fetched = asyncio.run(_fetch_all(self._parts.fetch, self._parts.photos.max_bytes, missing, known))
        if self._batch.keep_files:
            for line, photo in fetched.items():
                if isinstance(photo, RowPhoto):
                    self._keep(line, photo)
        return {line: photo for line, photo in kept.items() if photo is not None} | fetched

    def _keep(self, line: int, photo: RowPhoto) -> None:
        head = json.dumps({"etag": photo.source_etag}).encode()
        self._parts.media.save(self._key(line), head + b"\n" + photo.data)
        self.kept_bytes += len(photo.data)

    def _kept(self, row: FeedRow) -> RowPhoto | None:
        if not self._job.request.keeps_fetched or not isinstance(row.photo, PhotoUrl):
            return None
        try:
            head, _, data = self._parts.media.load(self._key(row.line)).partition(b"\n")
        except NotFound:
            return None
        return _of(data, row.photo.url, json.loads(head)["etag"])

    def _key(self, line: int) -> str:
        return f"{source_folder(self._job.request.source)}/fetched/{line}"


async def _fetch_all(
    args: FetchArgs, max_bytes: int, rows: Sequence[FeedRow], known: Mapping[str, KnownPhoto]
) -> dict[int, Found]:
    if not rows:
        return {}
    async with PhotoFetcher(args, max_bytes) as fetcher:
        photos = await asyncio.gather(*(_fetch(fetcher, row, known.get(row.sku)) for row in rows))
    return {row.line: photo for row, photo in zip(rows, photos, strict=True)}


async def _fetch(fetcher: PhotoFetcher, row: FeedRow, known: KnownPhoto | None) -> Found:
    if not isinstance(row.photo, PhotoUrl):
        raise AssertionError("only photos by URL are fetched")
    url = row.photo.url
    etag = known.source_etag if known is not None and known.source_url == url else None
    try:
        answer: Fetched | NotModified = await fetcher.fetch_photo(url, etag)
    except AppError as error:
        return _broken(error)
    return None if isinstance(answer, NotModified) else _of(answer.data, url, answer.etag)


def _of(data: bytes, url: str | None = None, etag: str | None = None) -> RowPhoto:
    return RowPhoto(data, hashlib.sha256(data).hexdigest(), url, etag)


def _broken(error: AppError) -> AppError:
    """What is wrong with the photo; a part of the service that does not answer is no fault of it."""
    if error.status_code >= 500:
        raise error
    return error
