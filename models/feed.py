"""One row of an import, whatever the format of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

# Columns that the CSV of broken rows (serve_app/feeds/broken_rows.py) has beside those of the feed. On input
# the first three say nothing; a row whose error_text is not empty is broken still.
ERROR_LINE, ERROR_CODE, ERROR_REASON = "error_line", "error_code", "error_reason"
ERROR_TEXT = "error_text"
ERROR_COLUMNS = (ERROR_LINE, ERROR_CODE, ERROR_REASON, ERROR_TEXT)
MAX_CELL_CHARS = 32_000  # of a broken row; Excel's cells hold 32,767
MAX_COLUMN_CHARS = 250
MAX_REASON_CHARS = 1_000
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class FeedFormat(StrEnum):
    """``auto``: by media type, file name and first bytes."""

    AUTO = "auto"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    ZIP = "zip"


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A member of the ZIP: its name there, and where its bytes lie, so that a task can read it alone.

    ``offset``: of its local header in the file. ``deflated``: packed; otherwise as it is.
    """

    name: str
    offset: int
    packed_bytes: int
    size_bytes: int
    crc32: int
    deflated: bool


@dataclass(frozen=True, slots=True)
class PhotoData:
    """Base64 in the row itself, not decoded yet."""

    base64: str


@dataclass(frozen=True, slots=True)
class PhotoUrl:
    """To be fetched."""

    url: str


PhotoSource = PhotoFile | PhotoData | PhotoUrl


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A row that can be read. ``values``: the fields of ``models.image_api.ImageFields`` that it gives,
    ``name`` always, ``sku`` never, each valid as in an upload; terms (Category, Styles, AgeGroup) are ids,
    or names that are looked up, in any case of letters. What is not given stays as it is.

    ``line``: of the file, from 1 (a record of JSON is a line). ``loose_terms``: names of the feed's
    own vocabulary (a Shopify type, a Merchant category), for each term the best first: the first one that
    exists counts, and none is no error.
    ``photo`` None: the photo stays as it is. ``raw``: the row as the file has it, by column. ``only_new``:
    fields whose values are made up for want of better ones; a photo that is there keeps its own.
    """

    line: int
    sku: str
    values: Mapping[str, Any]
    photo: PhotoSource | None
    raw: Mapping[str, Any]
    loose_terms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only_new: frozenset[str] = frozenset()

    def broken(self, code: str, reason: str) -> BrokenRow:
        """The row, once something turned out to be wrong with it after all."""
        return BrokenRow.of(self.line, self.sku, code, reason, self.raw)


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that cannot be imported. ``code`` is that of an AppError, ``reason`` is written for the shop.

    ``raw``: the row's cells by column, as text that PostgreSQL can store. Written as CSV they make the same
    broken row again, until somebody corrects them: what cells cannot say is in the one of ``ERROR_TEXT``.
    """

    line: int
    sku: str | None
    code: str
    reason: str
    raw: Mapping[str, str]

    @classmethod
    def of(
        cls, line: int, sku: str | None, code: str, reason: str, raw: Mapping[str, Any], text: str = ""
    ) -> Self:
        """With ``raw`` as the file has it; ``text``: what of the row stands in no column."""
        cells, lost = _storable_cells(raw)
        rest = "; ".join([*([_storable(text)] if text else []), *lost])
        if rest:
            cells[ERROR_TEXT] = rest[:MAX_CELL_CHARS]
        return cls(
            line,
            _storable(sku or "").strip()[:250] or None,
            code,
            _storable(reason)[:MAX_REASON_CHARS],
            cells,
        )


def _storable_cells(raw: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    cells: dict[str, str] = {}
    lost: list[str] = []
    for column, value in raw.items():
        name, cell = _storable(str(column))[:MAX_COLUMN_CHARS], cell_text(value)
        cells[name] = "" if len(cell) > MAX_CELL_CHARS else _storable(cell)
        if len(cell) > MAX_CELL_CHARS:
            lost.append(f"{name} is too long to be repeated here")
        elif cells[name] != cell:
            lost.append(f"{name} has characters that no text may have, here \N{REPLACEMENT CHARACTER}")
    return cells, lost


def cell_text(value: Any) -> str:
    """A value of JSON as the text of a cell."""
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "\x00"


def _storable(text: str) -> str:
    """NUL and lone surrogates, which PostgreSQL does not store, as U+FFFD."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


class FeedMode(StrEnum):
    """``full``: photos whose sku the feed does not have are removed."""

    INCREMENTAL = "incremental"
    FULL = "full"


class OnError(StrEnum):
    """What a broken row does to the others. ``reject_all``: nothing is stored."""

    REJECT_ALL = "reject_all"
    SKIP_ROWS = "skip_rows"
