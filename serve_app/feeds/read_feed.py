"""A feed of any format as a stream of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO

from models.errors import FeedUnreadable
from models.feed import BrokenRow, FeedFormat, FeedRow
from serve_app.feeds.csv_rows import read_csv
from serve_app.feeds.formats import format_of
from serve_app.feeds.json_array import read_json
from serve_app.feeds.json_rows import read_jsonl
from serve_app.feeds.limits import FeedLimits
from serve_app.feeds.photo_sources import FindPhoto
from serve_app.feeds.zip_rows import read_zip

Reader = Callable[[BinaryIO, FeedLimits, FindPhoto | None], Iterator[FeedRow | BrokenRow]]
_READERS: dict[FeedFormat, Reader] = {
    FeedFormat.CSV: read_csv,
    FeedFormat.JSON: read_json,
    FeedFormat.JSONL: read_jsonl,
}


def read_feed(
    source: BinaryIO,
    feed_format: FeedFormat = FeedFormat.AUTO,
    *,
    filename: str = "",
    media_type: str = "",
    limits: FeedLimits | None = None,
) -> Iterator[FeedRow | BrokenRow]:
    """The rows of a file that can be sought in, in its order, read as they are asked for.

    Raises FeedUnreadable, at the first row or at any later one, where the file as a whole cannot be read.
    """
    within = limits or FeedLimits()
    found = format_of(source, feed_format, filename, media_type)
    rows = (
        read_zip(source, within, _read_member)
        if found is FeedFormat.ZIP
        else _READERS[found](source, within, None)
    )
    yield from islice(rows, within.max_rows)
    if next(rows, None) is not None:
        raise FeedUnreadable(f"The feed has more than {within.max_rows} rows. Send it in parts.")


def _read_member(
    member: BinaryIO, filename: str, limits: FeedLimits, find_photo: FindPhoto
) -> Iterator[FeedRow | BrokenRow]:
    found = format_of(member, FeedFormat.AUTO, filename)
    if found is FeedFormat.ZIP:
        raise FeedUnreadable(f"{filename!r} is a ZIP inside of the ZIP. Unpack it and pack what was inside.")
    return _READERS[found](member, limits, find_photo)
