"""Whatever the bytes: rows, or an error that is written for people. Nothing of them that cannot be stored."""

from __future__ import annotations

import contextlib
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from models.errors import AppError, PhotoUnreadable
from models.feed import BrokenRow, FeedFormat, FeedRow, PhotoFile
from serve_app.feeds.read_feed import read_feed
from serve_app.feeds.zip_directory import zipped_photo
from tests.feed_files import EXAMPLES, SMALL, zip_of

MAX_MESSAGE_CHARS = 1_000  # of a job's error
HEADER = b"sku,name,Category,attributes,attributes.x:number,photo\n"
TABLE = HEADER + b'a,A,Dresses,"{""a"":1}",3,aGVs\nb,"B\n""q",2,,4|5,\n'
FILES = [
    *((EXAMPLES / name).read_bytes() for name in ("shopify-2024.csv", "merchant.tsv")),
    TABLE,
    TABLE.decode().encode("utf-16"),
    b'{"n": 1, "items": [{"sku": "a", "name": "A", "attributes": {"a": [1, 2]}}]}',
    b'{"sku": "a", "name": "A"}\n{"sku": "b", "name": "B"}\n',
    zip_of({"feed.csv": "sku,name,photo\na,A,a.jpg\n", "a.jpg": b"x" * 50}),
    zip_of({"a.jpg": b"x", "b.png": b"y"}),
]
_PIECES = [
    b'"',
    b"\r",
    b"\x00",
    b"\xff",
    b"[",
    b"}",
    b"\\",
    b"\xef\xbb\xbf",
    b"NaN",
    b"\\ud800",
    b"PK\x01\x02",
]
_DAMAGE = st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(_PIECES) | st.binary(max_size=4))


@given(st.sampled_from(FILES), st.lists(_DAMAGE, min_size=1, max_size=4), st.sampled_from(FeedFormat))
def test_damaged_files(content: bytes, damages: list[tuple[float, int, bytes]], stated: FeedFormat) -> None:
    for place, left_out, piece in damages:
        at = int(place * len(content))
        content = content[:at] + piece + content[at + left_out :]
    source = io.BytesIO(content)
    for row in rows_or_error(source, stated):
        check(row, source)


def rows_or_error(source: io.BytesIO, stated: FeedFormat) -> list[FeedRow | BrokenRow]:
    """What is read up to the error, if there is one."""
    rows: list[FeedRow | BrokenRow] = []
    message = ""
    try:
        rows.extend(read_feed(source, stated, limits=SMALL))
    except AppError as error:
        message = error.message
    assert is_storable(message)
    assert len(message) <= MAX_MESSAGE_CHARS
    assert len({row.line for row in rows}) == len(rows)
    return rows


def check(row: FeedRow | BrokenRow, source: io.BytesIO) -> None:
    """What the import relies on."""
    if isinstance(row, FeedRow):
        assert row.values["name"]
        assert is_storable(row.sku)
        assert is_storable(json.dumps(row.values, allow_nan=False))
        check(row.broken("invalid_input", "why"), source)
        if isinstance(row.photo, PhotoFile):
            with contextlib.suppress(PhotoUnreadable):
                zipped_photo(source, row.photo)
        return
    texts = [row.reason, row.sku or "a", *row.raw, *row.raw.values()]
    assert all(map(is_storable, texts))
    assert len(row.reason) <= MAX_MESSAGE_CHARS


def is_storable(text: str) -> bool:
    """Whether PostgreSQL takes it."""
    return "\x00" not in text and bool(text.encode() or True)
