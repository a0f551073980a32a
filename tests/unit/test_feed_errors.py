"""What is wrong with a feed: named with its place, in the words of the file, and the other rows unharmed."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import BinaryIO

import pytest

from models.errors import AppError, FeedUnreadable
from models.feed import BrokenRow, FeedFormat, FeedRow, PhotoData, PhotoUrl
from serve_app.feeds.photo_sources import decoded_photo
from serve_app.feeds.read_feed import read_feed
from tests.feed_files import SMALL, good_rows, jsonl_of, rows_of
from tests.feed_memory import FEEDS

CSV, JSON, JSONL, AUTO = FeedFormat.CSV, FeedFormat.JSON, FeedFormat.JSONL, FeedFormat.AUTO


@pytest.mark.parametrize(
    ("content", "stated", "expected"),
    [
        (b"", AUTO, "is empty"),
        (b"\n \n", CSV, "is empty"),
        (b"sku;description\n", CSV, "no column 'name'. Its first line names: 'sku', 'description'"),
        (b"sku,nam\n", CSV, "Is 'nam' meant to be 'name'?"),
        (b"a,b\n1,2", CSV, "no column 'sku' and no column 'name'"),
        (b"sku,name,colour\n", CSV, "'colour' is not known"),
        (b"sku,name,descriptoin\n", CSV, "Did you mean 'description'?"),
        (b"sku,name,Name\n", CSV, "'name' and 'Name' are one field"),
        (b"sku,name,Category,category_name\n", CSV, "'Category' and 'category_name' are one field"),
        (b"sku,,name\n", CSV, "Column 2 has no name"),
        (b"sku,na\x00me\n", CSV, "name of column 2"),
        (b"sku,name,attributes." + b"x" * 300, CSV, "name of column 3 has 311 characters"),
        (b'sku,name\na,A\nb,"B\nc,C\n', CSV, "opens in the row of line 3 is never closed"),
        (b'sku,"name\na,A', CSV, "header is never closed"),
        ("sku,name\na,Größe\n".encode("cp1252"), CSV, "byte at position 13 (line 2) is not UTF-8"),
        (b"\xef\xbb\xbfsku,name\na,\xff\n", CSV, "byte at position 14 (line 2) is not UTF-8"),
        ("sku,name\n".encode("utf-16") + b"\x00\xd8\x00\x00", CSV, "position 20 (line 2) is not UTF-16"),
        ("sku,name\na,A".encode("utf-16-le"), AUTO, "UTF-16 without the mark"),
        (b"sku,name\n" + b"a,A\n" * 101, CSV, "more than 100 rows"),
        (b"sku,name\na," + b"A" * 2_000_000, CSV, "row that begins on line 2 is longer than"),
        (b'sku,name\na,"' + b"A\n" * 1_000_000, CSV, "row that begins on line 2 is longer than"),
        (b"sku,name\na," + b"," * 300_000, CSV, "row on line 2 has more than 100000 cells"),
        (",".join(f"c{i}" for i in range(1001)).encode(), CSV, "1001 columns; the limit is 1000"),
        (b'[{"sku":"a","name":"A"},\n {"sku":', JSON, "breaks off on line 2"),
        (b'[{"sku":"a","name":"A"}\n {"sku": 1}]', JSON, "on line 2, character 2: ',' is missing before '{'"),
        (b'[{"sku":"a","name":"A"},\n {"sku":}]', JSON, "on line 2, character 9: expecting value"),
        (b'[{"sku":"a","name":"A"}] x', JSON, "line 1, character 26: something follows"),
        (b'[{"sku":"\xff"}]', JSON, "byte at position 9 (line 1) is not UTF-8"),
        (b"[" * 100_000, JSON, "nested too deeply"),
        (b"[[" + b"0," * 300_000 + b"0]]", JSON, "more than 100000 values"),
        (b'{"rows": []}', JSON, "no array of records"),
        (b"3", JSON, "no array of records"),
        (b'[{"sku":"' + b"a" * 2_000_000, JSON, "characters, or: unterminated string"),
        (b'{"sku":[' + b"0," * 300_000 + b"0]}", JSONL, "line 1 has more than 100000 values"),
        (b"PK\x03\x04", CSV, "is a ZIP, not csv"),
        (b"\x1f\x8b\x08", AUTO, "packed by gzip"),
        (b"<?xml version='1.0'?><rss/>", AUTO, "XML"),
        (b"\xd0\xcf\x11\xe0", AUTO, "Excel"),
    ],
)
def test_what_no_row_can_be_read_of(content: bytes, stated: FeedFormat, expected: str) -> None:
    with pytest.raises(FeedUnreadable) as error:
        rows_of(content, stated, limits=SMALL)
    assert expected in error.value.message
    assert error.value.code == "feed_unreadable"


def test_the_rows_before_an_error_are_read() -> None:
    rows = read_feed(io.BytesIO(b'[{"sku":"a","name":"A"}, {"sku":'), JSON)
    assert next(rows).sku == "a"
    with pytest.raises(FeedUnreadable):
        next(rows)


HEADER = "sku,name,Category,attributes,attributes.fit,photo,photo_url,product_url,auto_tag\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (",A,,,,,,,", "sku: is empty"),
        (f"{'s' * 251},A,,,,,,,", "sku: String should have at most 250 characters"),
        ("a,,,,,,,,", "name: String should have at least 1 character"),
        ("a,A,0,,,,,,", "Category: Input should be greater than or equal to 1 (got '0')"),
        ("a,A,99999999999,,,,,,", "Category: Input should be less than or equal to 2147483647"),
        (f"a,A,{'c' * 251},,,,,,", "Category: a name has at most 250 characters"),
        ("a,A,x\x00y,,,,,,", "Category: the text contains a NUL character"),
        ("a,A\x00,,,,,,,", "name: contains a NUL character; remove it"),
        ('a,A,,"{""a"":",,,,,', "attributes: is not a JSON object"),
        ("a,A,,[],,,,,", "attributes: Input should be a valid dictionary"),
        (f"a,A,,,{'x' * 17_000},,,,", "attributes: take 17011 bytes as JSON; the limit is 16384"),
        ("a,A,,,,a.jpg,,,", "photo: 'a.jpg' is the name of a file. Send the feed and its photos"),
        ("a,A,,,,https://a b,,,", "photo: 'https://a b' is no address of a photo"),
        ("a,A,,,,,ftp://a/b,,", "photo_url: 'ftp://a/b' is no address of a photo"),
        ("a,A,,,,aGk=,https://a/b,,", "photo and photo_url both give a photo"),
        ("a,A,,,,,,a.example,", "product_url: String should match pattern"),
        ("a,A,,,,,,,perhaps", "auto_tag: Input should be a valid boolean"),
        ("a,A", "has 2 cells, the header 9"),
        ("a,A,,,,,,,,,x", "has 11 cells, the header 9"),
        ('a,"A"x,,,,,,,', "quotation marks do not match"),
    ],
)
def test_a_broken_row_names_its_column_and_leaves_the_others_alone(line: str, expected: str) -> None:
    rows = rows_of(f"{HEADER}x,X,,,,,,,\n{line}\nz,Z,7,,wide,,,,yes\n".encode(), CSV)
    before, broken, after = rows
    assert isinstance(broken, BrokenRow)
    assert (broken.line, broken.code) == (3, "invalid_input")
    assert expected in broken.reason
    assert isinstance(before, FeedRow)
    assert isinstance(after, FeedRow)
    assert after.values == {"name": "Z", "Category": 7, "attributes": {"fit": "wide"}, "auto_tag": True} | {
        "product_url": None
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"sku": "a", "name": "A"', "not JSON: Expecting ',' delimiter at character"),
        ("[]", "Each record is a JSON object"),
        ('{"sku": "a", "name": "A", "colour": 1}', "attributes.colour keeps it as an attribute"),
        ('{"sku": "a", "name": ["A"]}', "name: Input should be a valid string"),
        (
            '{"sku": "a", "name": "\\ud800"}',
            "name: Input should be a valid string, unable to parse raw data as a unicode string",
        ),
        ('{"sku": "a", "name": "A", "photo": 3}', "photo: must be text"),
        (
            '{"sku": "a", "name": "A", "attributes": {"a": NaN}}',
            "attributes: hold a number that is not finite",
        ),
        ('{"sku": "a", "name": "A", "Category": ' + "1" * 5000 + "}", "number is too long"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_line_of_json_leaves_the_others_alone(line: str, expected: str) -> None:
    good = '{"sku": "x", "name": "X"}'
    before, broken, after = rows_of(f"{good}\n{line}\n{good}\n".encode(), JSONL)
    assert isinstance(broken, BrokenRow)
    assert broken.line == 2
    assert expected in broken.reason
    assert (before.sku, after.sku) == ("x", "x")


def test_numbers_of_json_are_skus_and_names_too_and_null_clears() -> None:
    record = {
        "sku": 12,
        "name": 501,
        "Category": None,
        "description": None,
        "attributes": None,
        "auto_tag": None,
    }
    (row,) = good_rows(jsonl_of([record]))
    assert (row.sku, row.values) == (
        "12",
        {"name": "501", "Category": None, "description": "", "attributes": {}},
    )


def test_how_json_writes_a_nul_is_no_nul() -> None:
    (row,) = good_rows(jsonl_of([{"sku": "a", "name": r"\u0000", "attributes": {"a": r"\u0000"}}]))
    assert row.values == {"name": r"\u0000", "attributes": {"a": r"\u0000"}}
    (broken,) = rows_of(jsonl_of([{"sku": "a", "name": "A", "attributes": {"a": ["x\x00"]}}]))
    assert isinstance(broken, BrokenRow)
    assert broken.reason == "attributes: contains a NUL character; remove it"


def test_empty_cells_and_rows_that_spreadsheets_add_say_nothing() -> None:
    rows = good_rows(b"sku,name,,\na,A,,\n,,,\n\nb,B\nc,C,,,, ,\n")
    assert [(row.line, row.sku) for row in rows] == [(2, "a"), (5, "b"), (6, "c")]


def test_the_photo_of_a_row_without_a_zip() -> None:
    cells = ["aGVsbG8=", "data:image/png;base64,aGVs bG8=", "HTTPS://a.example/b?c=d"]
    rows = good_rows(
        b"sku,name,photo\n" + "".join(f'{i},n,"{cell}"\n' for i, cell in enumerate(cells)).encode()
    )
    photos = [row.photo for row in rows]
    assert photos[2] == PhotoUrl(cells[2])
    for photo in photos[:2]:
        assert isinstance(photo, PhotoData)
        assert decoded_photo(photo, 100) == b"hello"


@pytest.mark.parametrize(
    ("text", "expected"), [("a.b", "not valid base64"), ("a" * 100, "more than 10 bytes")]
)
def test_base64_that_is_none_or_too_long(text: str, expected: str) -> None:
    with pytest.raises(AppError, match=expected):
        decoded_photo(PhotoData(text), 10)


@pytest.mark.parametrize("name", FEEDS)
def test_memory_does_not_grow_with_the_rows(name: str) -> None:
    command = [sys.executable, "-m", "tests.feed_memory", name, "4000", "4000", "12000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    peaks = [int(line) for line in done.stdout.split()]
    assert peaks[2] < peaks[1] + 50_000


def test_the_file_stays_open() -> None:
    source: BinaryIO = io.BytesIO(b"sku,name\na,A\nb,B\n")
    next(iter(read_feed(source, CSV)))
    assert [row.sku for row in read_feed(source, CSV)] == ["a", "b"]
    assert not source.closed
