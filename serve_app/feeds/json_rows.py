"""JSON records: one a line (JSONL), or the elements of one array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from models.errors import FeedUnreadable, InvalidInput
from models.feed import BrokenRow, FeedRow
from serve_app.feeds.limits import FeedLimits
from serve_app.feeds.own_columns import OwnColumns
from serve_app.feeds.photo_sources import FindPhoto
from serve_app.feeds.text import Lines, opened_text

MAX_LAYOUTS = 500


class Records:
    """Records to rows; what their keys mean is worked out once for each set of keys."""

    def __init__(self, find_photo: FindPhoto | None) -> None:
        self._find_photo = find_photo
        self._layouts: dict[tuple[str, ...], OwnColumns] = {}

    def row(self, line: int, record: Any) -> FeedRow | BrokenRow:
        """One record, checked."""
        if not isinstance(record, dict):
            text = json.dumps(record, ensure_ascii=False)
            reason = 'Each record is a JSON object, like {"sku": "A-1", "name": "Red dress"}.'
            return BrokenRow.of(line, None, InvalidInput.code, reason, {}, text)
        try:
            layout = self._layout(tuple(record))
        except FeedUnreadable as error:
            return BrokenRow.of(line, _text(record.get("sku")), InvalidInput.code, error.message, record)
        return layout.row(line, record)

    def _layout(self, keys: tuple[str, ...]) -> OwnColumns:
        layout = self._layouts.get(keys)
        if layout is None:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[keys] = OwnColumns(keys, self._find_photo)
        return layout


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
