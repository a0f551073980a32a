"""A ZIP of photos with the feed that names them, or of photos alone."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from posixpath import splitext
from typing import BinaryIO, cast
from zipfile import ZipInfo

from models.errors import AppError, FeedUnreadable
from models.feed import BrokenRow, FeedRow
from serve_app.feeds.check_row import Draft, checked_row
from serve_app.feeds.limits import FeedLimits
from serve_app.feeds.photo_sources import FindPhoto
from serve_app.feeds.zip_directory import DAMAGED, ZipDirectory, folder, stem, unreadable

WORKBOOKS = {"[Content_Types].xml", "META-INF/manifest.xml"}
FEED_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
# heic is refused with its reason when the photo is read, rather than overlooked.
PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"
)  # fmt: skip
ReadMember = Callable[[BinaryIO, str, FeedLimits, FindPhoto], Iterator[FeedRow | BrokenRow]]


def read_zip(source: BinaryIO, limits: FeedLimits, read_member: ReadMember) -> Iterator[FeedRow | BrokenRow]:
    """The rows of the one feed in it; without one, a row for each photo. Raises FeedUnreadable."""
    directory = ZipDirectory(source, limits)
    feed = _feed(directory)
    if feed is None:
        yield from _photo_rows(directory)
        return
    directory.folder = folder(feed)
    try:
        member = directory.archive.open(feed)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError):
        raise FeedUnreadable(f"{feed.filename!r} is damaged. {DAMAGED}") from None
    with member:
        try:
            yield from read_member(cast(BinaryIO, member), feed.filename, limits, directory.find)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            raise FeedUnreadable(f"{feed.filename!r} is damaged. {DAMAGED}") from None


def _feed(directory: ZipDirectory) -> ZipInfo | None:
    names = {one.filename for one in directory.members}
    if names & WORKBOOKS:
        raise FeedUnreadable('The file is a workbook of a spreadsheet. Save it as "CSV UTF-8" and send that.')
    feeds = [one for one in directory.members if _suffix(one) in FEED_SUFFIXES]
    feeds = feeds or [one for one in directory.members if _suffix(one) == ".txt"]
    if len(feeds) > 1:
        listed = ", ".join(repr(one.filename) for one in feeds[:5])
        raise FeedUnreadable(f"The ZIP has {len(feeds)} feeds: {listed}. Send one ZIP for each.")
    if not feeds:
        return None
    if problem := unreadable(feeds[0]):
        raise FeedUnreadable(f"{feeds[0].filename!r} {problem}")
    limit = directory.limits.max_bytes
    if feeds[0].file_size > limit:
        raise FeedUnreadable(
            f"{feeds[0].filename!r} unpacks to {feeds[0].file_size} bytes; the limit is {limit}. "
            "Send it in parts."
        )
    return feeds[0]


def _photo_rows(directory: ZipDirectory) -> Iterator[FeedRow | BrokenRow]:
    """Photos without a feed: the sku is the file's name, and so is the name of what is new."""
    photos = [one for one in directory.members if _suffix(one) in PHOTO_SUFFIXES]
    if not photos:
        raise FeedUnreadable(
            "The ZIP has neither a feed (.csv, .json, .jsonl) nor photos. ZIPs inside of it are not read."
        )
    for line, member in enumerate(photos, start=1):
        yield _photo_row(directory, line, member)


def _photo_row(directory: ZipDirectory, line: int, member: ZipInfo) -> FeedRow | BrokenRow:
    sku = stem(member)
    values = {"sku": sku, "name": sku.replace("_", " ").strip() or sku}
    raw = {**values, "photo": member.filename}
    columns = {"sku": f"{member.filename[:200]} (the sku is its name)", "name": "name"}
    draft = Draft(line, values, raw, columns, only_new=frozenset({"name"}))
    try:
        draft.photo = directory.photo(member)
    except AppError as error:
        return BrokenRow.of(line, sku, error.code, error.message, raw)
    return checked_row(draft)


def _suffix(member: ZipInfo) -> str:
    return splitext(member.filename)[1].lower()
