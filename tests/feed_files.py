"""Feeds as bytes, written by other means than those that read them."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from models.feed import BrokenRow, FeedFormat, FeedRow
from serve_app.feeds.limits import FeedLimits
from serve_app.feeds.read_feed import read_feed

EXAMPLES = Path(__file__).parent / "feeds"
_LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])
_AWKWARD = st.sampled_from(" ,;\t\n\"'\\")


def texts(max_size: int = 12, min_size: int = 1) -> st.SearchStrategy[str]:
    """Text as people have it in cells: with delimiters, quotes and line breaks inside."""
    written = st.text(_LETTERS | _AWKWARD, max_size=max_size).map(str.strip)
    return written.filter(lambda text: len(text) >= min_size)


@dataclass(frozen=True)
class Item:
    """What a row is to say."""

    sku: str
    name: str
    description: str
    category: int | str | None
    attributes: Mapping[str, str | list[str]]
    photo_url: str | None

    def values(self) -> dict[str, Any]:
        """As the import gets it."""
        return {
            "name": self.name,
            "description": self.description,
            "Category": self.category,
            "attributes": dict(self.attributes),
        }

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "sku": self.sku,
            "name": self.name,
            "description": self.description,
            "Category": self.category,
            "attributes": dict(self.attributes),
            "photo_url": self.photo_url,
        }

    def cells(self, attribute_names: Sequence[str]) -> dict[str, str]:
        """As a table has it, each attribute in a column of its own."""
        named = {f"attributes.{name}": _attribute_cell(self.attributes.get(name)) for name in attribute_names}
        category = "" if self.category is None else str(self.category)
        plain = {"sku": self.sku, "name": self.name, "description": self.description, "Category": category}
        return plain | {"photo_url": self.photo_url or ""} | named


def _attribute_cell(value: str | list[str] | None) -> str:
    return "" if value is None else value if isinstance(value, str) else " | ".join(value)


ATTRIBUTE_NAMES = ("color", "Größe", "two words")
_single = texts().filter(lambda text: "|" not in text)
_attribute = _single | st.lists(_single, min_size=2, max_size=3)
_term_name = texts().filter(lambda text: not re.fullmatch(r"[-+]*\d+", text))
ITEMS = st.lists(
    st.builds(
        Item,
        sku=texts(),
        name=texts(),
        description=texts(30, min_size=0),
        category=st.none() | st.integers(1, 2**31 - 1) | _term_name,
        attributes=st.dictionaries(st.sampled_from(ATTRIBUTE_NAMES), _attribute),
        photo_url=st.none() | st.just("https://cdn.example/p.jpg"),
    ),
    min_size=1,
    max_size=4,
)


@dataclass(frozen=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    ends: tuple[str, int]
    encoding: str
    columns: Sequence[str]
    upper: bool


def dialects(columns: Sequence[str]) -> st.SearchStrategy[Dialect]:
    """Any of those that are read, with the columns in any order."""
    return st.builds(
        Dialect,
        delimiter=st.sampled_from(",;\t"),
        # Python's writer leaves line breaks unquoted that are not its own.
        ends=st.sampled_from(
            [
                ("\n", csv.QUOTE_MINIMAL),
                ("\r\n", csv.QUOTE_MINIMAL),
                ("\n", csv.QUOTE_ALL),
                ("\r", csv.QUOTE_ALL),
            ]
        ),
        encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
        columns=st.permutations(columns),
        upper=st.booleans(),
    )


def written_csv(rows: Sequence[Mapping[str, str]], dialect: Dialect) -> tuple[bytes, list[int]]:
    """The file, and the line on which an editor shows the beginning of each row."""
    text = io.StringIO()
    line_end, quoting = dialect.ends
    writer = csv.writer(text, delimiter=dialect.delimiter, quoting=quoting, lineterminator=line_end)  # type: ignore[arg-type]
    shown = [name if "." in name or not dialect.upper else name.upper() for name in dialect.columns]
    writer.writerow(shown)
    lines = []
    for row in rows:
        lines.append(len(re.findall("\r\n|\r|\n", text.getvalue())) + 1)
        writer.writerow([row[column] for column in dialect.columns])
    return text.getvalue().encode(dialect.encoding), lines


def rows_of(
    content: bytes, feed_format: FeedFormat = FeedFormat.AUTO, **options: Any
) -> list[FeedRow | BrokenRow]:
    """All rows of a file."""
    return list(read_feed(io.BytesIO(content), feed_format, **options))


def good_rows(content: bytes, feed_format: FeedFormat = FeedFormat.AUTO, **options: Any) -> list[FeedRow]:
    """All rows of a file in which none is broken."""
    rows = rows_of(content, feed_format, **options)
    assert [row for row in rows if isinstance(row, BrokenRow)] == []
    return [row for row in rows if isinstance(row, FeedRow)]


def zip_of(members: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP with these members."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def jsonl_of(records: Sequence[Any]) -> bytes:
    """One line for each record."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


SMALL = FeedLimits(max_bytes=10_000, max_rows=100, max_photo_bytes=1_000)
