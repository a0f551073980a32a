"""The same rows, whatever the file that they are written to."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.feed import FeedFormat, FeedRow, PhotoFile, PhotoUrl
from serve_app.feeds.zip_directory import zipped_photo
from tests.feed_files import (
    ATTRIBUTE_NAMES,
    ITEMS,
    Dialect,
    Item,
    dialects,
    good_rows,
    jsonl_of,
    written_csv,
    zip_of,
)

COLUMNS = [*Item("", "", "", None, {}, None).cells(ATTRIBUTE_NAMES)]


def as_expected(rows: Sequence[FeedRow], items: Sequence[Item], lines: Sequence[int]) -> None:
    """Compare what was read with what was written."""
    assert [row.line for row in rows] == list(lines)
    assert [row.sku for row in rows] == [item.sku for item in items]
    assert [row.values for row in rows] == [item.values() for item in items]
    photos = [PhotoUrl(item.photo_url) if item.photo_url else None for item in items]
    assert [row.photo for row in rows] == photos


@given(ITEMS, dialects(COLUMNS))
def test_a_table_in_any_dialect(items: list[Item], dialect: Dialect) -> None:
    content, lines = written_csv([item.cells(ATTRIBUTE_NAMES) for item in items], dialect)
    as_expected(good_rows(content), items, lines)


@given(ITEMS, st.sampled_from(["", "\n", "\r\n"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_lines_of_json(items: list[Item], blank: str, encoding: str) -> None:
    lines = [json.dumps(item.record(), ensure_ascii=False) + "\n" + blank for item in items]
    step = 2 if blank else 1
    rows = good_rows("".join(lines).encode(encoding), FeedFormat.JSONL)
    as_expected(rows, items, range(1, step * len(items) + 1, step))


@given(
    ITEMS,
    st.sampled_from([None, 0, 2]),
    st.sampled_from([None, "items", "products"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_document_of_json(items: list[Item], indent: int | None, key: str | None, encoding: str) -> None:
    records = [item.record() for item in items]
    whole = {"shop": {"items": []}, key: records, "next": None} if key else records
    content = json.dumps(whole, indent=indent, ensure_ascii=False).encode(encoding)
    as_expected(good_rows(content, FeedFormat.JSON), items, range(1, len(items) + 1))


@given(
    st.lists(st.binary(max_size=40), min_size=1, max_size=4),
    st.sampled_from(["", "photos/", "a/b/"]),
    st.sampled_from(["feed.csv", "out/feed.csv", "feed.jsonl", "feed.json"]),
    st.booleans(),
)
def test_a_zip_of_a_feed_and_its_photos(
    photos: list[bytes], folder: str, feed: str, plain_names: bool
) -> None:
    members = {f"{folder}{number}.jpg": photo for number, photo in enumerate(photos)}
    names = [f"{number}.jpg" if plain_names else f"{folder}{number}.jpg" for number in range(len(photos))]
    records = [{"sku": name, "name": name, "photo": name} for name in names]
    written = {
        "csv": "sku,name,photo\n" + "".join(f"{name},{name},{name}\n" for name in names),
        "jsonl": jsonl_of(records),
        "json": json.dumps(records),
    }
    content = zip_of({**members, feed: written[feed.rpartition(".")[2]], "unnamed.jpg": b"x"})
    rows = good_rows(content)
    assert [row.sku for row in rows] == names
    found = [row.photo for row in rows]
    assert all(isinstance(photo, PhotoFile) for photo in found)
    assert [zipped_photo(io.BytesIO(content), photo) for photo in found] == photos  # type: ignore[arg-type]


def test_a_zip_of_photos_alone_takes_skus_from_their_names() -> None:
    content = zip_of({"red/A_1.JPG": b"one", "b.png": b"two", "notes.pdf": b"", "__MACOSX/._b.png": b""})
    rows = good_rows(content)
    assert [(row.sku, row.values, row.only_new) for row in rows] == [
        ("A_1", {"name": "A 1"}, {"name"}),
        ("b", {"name": "b"}, {"name"}),
    ]


@pytest.mark.parametrize(
    ("content", "filename", "expected"),
    [
        (b'{"sku": "a", "name": "A"}', "", FeedFormat.JSONL),
        (b'{"sku": "a", "name": "A"}\n{"sku": "b", "name": "B"}', "feed.json", FeedFormat.JSONL),
        (b'{"items": [{"sku": "a", "name": "A"}]}', "", FeedFormat.JSON),
        (b'{\n "items": [\n{"sku": "a", "name": "A"}]}', "", FeedFormat.JSON),
        (b' \n[{"sku": "a", "name": "A"}]', "feed.csv", FeedFormat.JSON),
        (b"sep=;\nsku;name\na;A", "", FeedFormat.CSV),
        (b"\n\nsku\tname\t\na\tA\n\n\t\n", "feed.txt", FeedFormat.CSV),
    ],
)
def test_formats_are_told_by_their_beginning(content: bytes, filename: str, expected: FeedFormat) -> None:
    for stated in (FeedFormat.AUTO, expected):
        assert good_rows(content, stated, filename=filename)[0].sku == "a"


def test_photos_are_found_by_the_end_of_their_paths() -> None:
    content = zip_of(
        {
            "shop/feed.csv": "sku,name,photo\n1,n,img/a.jpg\n2,n,C:\\me\\b.jpg\n"
            "3,n,./img/a.jpg\n4,n,E\u0301.jpg\n",
            "shop/img/a.jpg": b"a in img",
            "b.jpg": b"b",
            "other/a.jpg": b"a elsewhere",
            "\u00c9.jpg": b"e",
        }
    )
    source = io.BytesIO(content)
    found = [zipped_photo(source, row.photo) for row in good_rows(content)]  # type: ignore[arg-type]
    assert found == [b"a in img", b"b", b"a in img", b"e"]
