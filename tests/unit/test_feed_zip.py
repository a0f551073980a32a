"""ZIPs that are damaged, hostile or simply not what we read."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zipfile
from dataclasses import replace

import pytest

from models.errors import AppError, FeedUnreadable, PhotoUnreadable
from models.feed import BrokenRow, FeedFormat, FeedRow, PhotoFile
from serve_app.feeds import zip_directory
from serve_app.feeds.limits import FeedLimits
from serve_app.feeds.zip_directory import zipped_photo
from tests.feed_files import SMALL, good_rows, rows_of, zip_of

FEED = "sku,name,photo\na,A,a.jpg\n"
GOOD = zip_of({"feed.csv": FEED, "a.jpg": b"photo" * 20})


def flagged(content: bytes, flag: int) -> bytes:
    """With a general purpose flag set in every entry."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            changed[at + offset] |= flag
            at = content.find(mark, at + 1)
    return bytes(changed)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GOOD[:-10], "damaged or not complete"),
        (GOOD[:100], "damaged or not complete"),
        (b"PK\x03\x04", "damaged or not complete"),
        (b"not a zip", "damaged or not complete"),
        (GOOD[:-10] + b"\xff\xff\xff\xff" + GOOD[-6:], "damaged or not complete"),
        (flagged(GOOD, 1), "'feed.csv' is encrypted"),
        (zip_of({"feed.csv": FEED}, zipfile.ZIP_LZMA), "'feed.csv' is packed by an unusual method"),
        (zip_of({}), "neither a feed"),
        (zip_of({"Q": "", "photos/": "", ".DS_Store": ""}).replace(b"Q", b"\x00"), "neither a feed"),
        (zip_of({"inner.zip": GOOD}), "ZIPs inside of it are not read"),
        (zip_of({"feed.csv": GOOD}), "'feed.csv' is a ZIP inside of the ZIP"),
        (zip_of({"a.csv": FEED, "b/c.json": "[]"}), "has 2 feeds: 'a.csv', 'b/c.json'"),
        (zip_of({"feed.csv": "sku,name\n" + "a,A\n" * 5_000}), "unpacks to 20009 bytes; the limit is 10000"),
        (zip_of({"[Content_Types].xml": "", "xl/workbook.xml": ""}), "workbook"),
        (zip_of({"mimetype": "", "META-INF/manifest.xml": "", "Thumbnails/thumbnail.png": "x"}), "workbook"),
        (zip_of({"feed.csv": "sku,nam\n"}), "no column 'name'"),
        (zip_of({"feed.json": '[{"sku": "a"'}), "breaks off on line 1"),
    ],
)
def test_a_zip_that_is_refused_as_a_whole(content: bytes, expected: str) -> None:
    with pytest.raises(FeedUnreadable) as error:
        rows_of(content, FeedFormat.ZIP, limits=SMALL)
    assert expected in error.value.message


def test_a_damaged_feed_in_a_zip() -> None:
    content = bytearray(zip_of({"feed.csv": FEED + "b,B,a.jpg\n" * 9, "a.jpg": b""}, zipfile.ZIP_STORED))
    content[content.find(b"b,B")] ^= 1
    with pytest.raises(FeedUnreadable, match=r"'feed\.csv' is damaged"):
        rows_of(bytes(content))


def test_more_members_or_a_longer_list_of_them_than_anyone_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_directory, "MAX_MEMBERS", 2)
    assert len(good_rows(GOOD)) == 1
    with pytest.raises(FeedUnreadable, match="has 3 members; the limit is 2"):
        rows_of(zip_of({"feed.csv": FEED, "a.jpg": b"", "b.jpg": b""}))
    lying = bytearray(zip_of({"feed.csv": FEED, "a.jpg": b"", "b.jpg": b""}))
    lying[-14:-10] = struct.pack("<2H", 1, 1)  # the number of members, which need not be true
    with pytest.raises(FeedUnreadable, match="has 3 members; the limit is 2"):
        rows_of(bytes(lying))
    monkeypatch.setattr(zip_directory, "MAX_DIRECTORY_BYTES", 50)
    with pytest.raises(FeedUnreadable, match="list of members takes"):
        rows_of(GOOD)


def test_a_bomb_is_refused_by_what_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_directory, "MIN_BOMB_BYTES", 1_000_000)
    bomb = zip_of({"feed.csv": FEED, **{f"{i}.jpg": b"\x00" * 1_000_000 for i in range(3)}})
    with pytest.raises(FeedUnreadable, match="no photos do that"):
        rows_of(bomb)


def broken(content: bytes, limits: FeedLimits | None = None) -> BrokenRow:
    """The first row, which is broken."""
    row = rows_of(content, limits=limits)[0]
    assert isinstance(row, BrokenRow)
    return row


def link(name: str) -> zipfile.ZipInfo:
    """A member that is a symbolic link."""
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def test_photos_that_cannot_be_read_break_their_rows_only() -> None:
    for feed in ({"feed.csv": FEED}, {}):
        missing = broken(zip_of({"feed.csv": FEED, "b.jpg": b""}))
        assert (missing.code, missing.sku) == ("photo_missing", "a")
        large = broken(zip_of({**feed, "a.jpg": b"x" * 1_001}), SMALL)
        assert (large.code, large.sku) == ("photo_too_large", "a")
        assert "'a.jpg' has 1001 bytes; the limit is 1000" in large.reason
        odd = broken(zip_of({**feed, "a.jpg": b"x"}, zipfile.ZIP_BZIP2) if not feed else mixed())
        assert (odd.code, odd.sku) == ("photo_unreadable", "a")
        assert "unusual method" in odd.reason
    encrypted = broken(flagged(zip_of({"a.jpg": b"x"}), 1))
    assert (encrypted.code, encrypted.sku) == ("photo_unreadable", "a")
    assert "is encrypted" in encrypted.reason


def mixed() -> bytes:
    """A feed that is packed in the ordinary way, and a photo that is not."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("feed.csv", FEED)
        archive.writestr("a.jpg", b"x", zipfile.ZIP_BZIP2)
    return packed.getvalue()


def test_links_paths_and_doubles_lead_nowhere() -> None:
    packed = io.BytesIO()
    names = ["link.jpg", "../../etc/passwd", "/etc/passwd", "red/1.jpg", "2.jpg", "x/../y.jpg"]
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("feed.csv", "sku,name,photo\n" + "".join(f"{name},n,{name}\n" for name in names))
        archive.writestr(link("link.jpg"), "/etc/passwd")
        for name in ("blue/1.jpg", "a/2.jpg", "b/2.jpg", "y.jpg"):
            archive.writestr(name, b"x")
    rows = rows_of(packed.getvalue())
    found = {row.sku: row.reason if isinstance(row, BrokenRow) else "read" for row in rows}
    assert "symbolic link" in found["link.jpg"]
    assert "there more than once" in found["2.jpg"]
    assert found["x/../y.jpg"] == "read"
    for name in ("../../etc/passwd", "/etc/passwd", "red/1.jpg"):
        assert f"The ZIP has no {name!r}" in found[name]  # type: ignore[operator]


def test_no_more_is_unpacked_than_was_declared() -> None:
    content = zip_of({"a.jpg": b"x" * 1_000})
    (row,) = good_rows(content)
    assert isinstance(row, FeedRow)
    assert isinstance(row.photo, PhotoFile)
    photo = row.photo
    lies = [
        {"size_bytes": 10},
        {"size_bytes": 2_000},
        {"crc32": 1},
        {"offset": 5},
        {"offset": len(content) + 9},
        {"packed_bytes": 3},
        {"deflated": False},
    ]
    for lie in lies:
        with pytest.raises(PhotoUnreadable, match=r"'a\.jpg' is damaged in the ZIP"):
            zipped_photo(io.BytesIO(content), replace(photo, **lie))
    assert zipped_photo(io.BytesIO(content), photo) == b"x" * 1_000


def test_a_photo_that_unpacks_to_more_than_it_said_takes_no_memory() -> None:
    content = zip_of({"a.jpg": b"\x00" * 20_000_000})
    (row,) = good_rows(content)
    assert isinstance(row.photo, PhotoFile)
    tracemalloc.start()
    with pytest.raises(PhotoUnreadable):
        zipped_photo(io.BytesIO(content), replace(row.photo, size_bytes=1_000))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize("at", range(0, len(GOOD), 3))
def test_no_damage_is_more_than_an_error(at: int) -> None:
    damaged = bytearray(GOOD)
    damaged[at] ^= 0xFF
    source = io.BytesIO(bytes(damaged))
    try:
        for row in rows_of(bytes(damaged), FeedFormat.ZIP):
            if isinstance(row, FeedRow) and isinstance(row.photo, PhotoFile):
                assert zipped_photo(source, row.photo) == b"photo" * 20
    except AppError:
        pass
