"""JSON records: one a line (JSONL), or the elements of one array."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from models.errors import FeedUnreadable, InvalidInput
from models.feed import BrokenRow, FeedRow, cell_text
from serve_app.feeds.layouts import record_layout
from serve_app.feeds.limits import LONG_CHARS, MAX_MARKS, FeedLimits
from serve_app.feeds.merchant_columns import MerchantColumns
from serve_app.feeds.own_columns import ANY_TYPE, FIELDS, PHOTOS, OwnColumns, normalised, placed_columns
from serve_app.feeds.photo_sources import FindPhoto
from serve_app.feeds.text import Lines, opened_text

MAX_LAYOUTS = 500


class Records:
    """Records to rows; what their keys mean is worked out once for each set of keys."""

    def __init__(self, find_photo: FindPhoto | None) -> None:
        self._find_photo = find_photo
        self._layouts: dict[tuple[str, ...], OwnColumns | MerchantColumns] = {}

    def row(self, line: int, record: Any) -> FeedRow | BrokenRow:
        """One record, checked."""
        if not isinstance(record, dict):
            text = cell_text(record)
            reason = 'Each record is a JSON object, like {"sku": "A-1", "name": "Red dress"}.'
            return BrokenRow.of(line, None, InvalidInput.code, reason, {}, text)
        try:
            layout = self._layout(tuple(record))
        except FeedUnreadable as error:
            placed = placed_columns(record)
            rest = {key: value for key, value in record.items() if key not in placed}
            known = {key: record[key] for key in placed}
            text = cell_text(rest)
            return BrokenRow.of(line, _text(record.get("sku")), InvalidInput.code, error.message, known, text)
        row = layout.row(line, record)
        if isinstance(row, BrokenRow) and isinstance(layout, OwnColumns) and (odd := _no_cells(record)):
            return BrokenRow.of(line, row.sku, row.code, row.reason, record, cell_text(odd))
        return row

    def _layout(self, keys: tuple[str, ...]) -> OwnColumns | MerchantColumns:
        layout = self._layouts.get(keys)
        if layout is None:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[keys] = record_layout(keys, self._find_photo)
        return layout


def has_many_values(content: str, start: int = 0) -> bool:
    """Whether a long text of JSON holds more values than any record has."""
    return sum(content.count(mark, start) for mark in ",:[{") > MAX_MARKS


def _no_cells(record: Mapping[str, Any]) -> dict[str, Any]:
    """What would be another value as the text of a cell."""
    return {key: value for key, value in record.items() if not _is_cell(FIELDS.get(normalised(key)), value)}


def _is_cell(field: str | None, value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return field not in PHOTOS
    return value is None or isinstance(value, str) or field in ANY_TYPE


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def read_jsonl(
    source: BinaryIO, limits: FeedLimits, find_photo: FindPhoto | None = None
) -> Iterator[FeedRow | BrokenRow]:
    """A row for each line that is not blank; one that is no JSON is a broken row. Raises FeedUnreadable."""
    records = Records(find_photo)
    with opened_text(source) as text:
        lines = Lines(source, text, limits)
        while True:
            line = lines.begin()
            content = next(lines, None)
            if content is None:
                return
            if len(content) > LONG_CHARS and has_many_values(content):
                raise FeedUnreadable(f"The record on line {line} has more than {MAX_MARKS} values.")
            if content.strip():
                yield _parsed_line(line, content, records)


def _parsed_line(line: int, content: str, records: Records) -> FeedRow | BrokenRow:
    try:
        record = json.loads(content)
    except json.JSONDecodeError as error:
        reason = f"The line is not JSON: {error.msg} at character {error.colno}."
    except (ValueError, RecursionError):
        reason = "The line is not JSON that can be read: it is nested too deeply, or a number is too long."
    else:
        return records.row(line, record)
    return BrokenRow.of(line, None, InvalidInput.code, reason, {}, content.strip())
