"""A stream of rows in pieces that are bounded in number and in bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from models.feed import FeedRow, PhotoData, PhotoFile, PhotoUrl
from serve_app.import_photos.parts import Row

CHUNK_ROWS = 500
MAX_BYTES = 16 * 2**20
URL_BYTES = 2**19
Kind = TypeVar("Kind", bound=Row)


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Pieces that cost one query."""
    return _cut(rows, CHUNK_ROWS)


def in_batches(rows: Iterable[FeedRow], batch_rows: int) -> Iterator[list[FeedRow]]:
    """Pieces that are one task."""
    return _cut(rows, batch_rows)


def _cut(rows: Iterable[Kind], most: int) -> Iterator[list[Kind]]:
    piece: list[Kind] = []
    size_bytes = 0
    for row in rows:
        piece.append(row)
        size_bytes += _bytes_of(row)
        if len(piece) >= most or size_bytes >= MAX_BYTES:
            yield piece
            piece, size_bytes = [], 0
    if piece:
        yield piece


def _bytes_of(row: Row) -> int:
    """Of its photo, which a task holds beside those of the other rows; of one to be fetched a guess."""
    match row.photo if isinstance(row, FeedRow) else None:
        case PhotoData(base64):
            return len(base64)
        case PhotoFile(size_bytes=size_bytes):
            return size_bytes
        case PhotoUrl():
            return URL_BYTES
    return 0
