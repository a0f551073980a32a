"""Delimited text: the header's delimiter and columns, then record by record."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from models.errors import FeedUnreadable, InvalidInput
from models.feed import ERROR_COLUMNS, ERROR_TEXT, MAX_COLUMN_CHARS, BrokenRow, FeedRow
from serve_app.feeds.layouts import Layout, known_columns, layout_of
from serve_app.feeds.limits import MAX_COLUMNS, FeedLimits
from serve_app.feeds.own_columns import normalised
from serve_app.feeds.photo_sources import FindPhoto
from serve_app.feeds.text import Lines, opened_text

DELIMITERS = (",", ";", "\t")


def read_csv(
    source: BinaryIO, limits: FeedLimits, find_photo: FindPhoto | None = None
) -> Iterator[FeedRow | BrokenRow]:
    """The rows, in order. Raises FeedUnreadable, with the line."""
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_record_chars))
    with opened_text(source) as text:
        lines = Lines(source, text, limits)
        columns, delimiter = _header(lines)
        lines.split_at(delimiter)
        layout = layout_of([name for name in columns if normalised(name) not in ERROR_COLUMNS], find_photo)
        yield from _rows(lines, columns, delimiter, layout)


def _rows(lines: Lines, columns: list[str], delimiter: str, layout: Layout) -> Iterator[FeedRow | BrokenRow]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = len(columns)
    repeated = {column for column in columns if normalised(column) in ERROR_COLUMNS}
    while True:
        line = lines.begin()
        try:
            cells = next(reader, None)
        except csv.Error:
            yield _misquoted(lines, line)
            continue
        if cells is None:
            return
        if len(cells) != width:
            cells = _fitted(cells, width)
        if not any(cells):
            continue
        raw = dict(zip(columns, cells, strict=False))
        row: FeedRow | BrokenRow | None
        if len(cells) != width:
            row = _misfit(line, cells, columns)
        elif repeated and (problem := _taken_out(raw, repeated)):
            row = BrokenRow.of(line, None, InvalidInput.code, _STILL_BROKEN, raw, problem)
        else:
            row = layout.row(line, raw)
        if row is not None:
            yield row


_STILL_BROKEN = (
    f"{ERROR_TEXT} says what of this row could not be read. Put it right in the other cells, "
    "then empty this one."
)


def _taken_out(raw: dict[str, str], repeated: set[str]) -> str:
    """Removes the columns that only explain errors; returns what that of unread text holds."""
    texts = [cell for column in repeated if (cell := raw.pop(column)) and normalised(column) == ERROR_TEXT]
    return texts[0].strip() if texts else ""


def _fitted(cells: list[str], width: int) -> list[str]:
    """Without the empty cells beyond the header's."""
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    return cells


def _misfit(line: int, cells: list[str], columns: Sequence[str]) -> BrokenRow:
    reason = (
        f"The row has {len(cells)} cells, the header {len(columns)}. Is a delimiter or a line break in a "
        "cell that is not quoted?"
    )
    surplus = json.dumps(cells[len(columns) :], ensure_ascii=False) if len(cells) > len(columns) else ""
    text = f"{len(cells)} cells instead of {len(columns)} {surplus}".strip()
    raw = dict(zip(columns, cells, strict=False))
    return BrokenRow.of(line, None, InvalidInput.code, reason, raw, text)


def _misquoted(lines: Lines, line: int) -> BrokenRow:
    """Raises FeedUnreadable where the file ended inside of quotes."""
    if lines.ended:
        raise FeedUnreadable(
            f"The quotation mark that opens in the row of line {line} is never closed: the file ends "
            "inside of it."
        )
    reason = (
        "The quotation marks do not match: a quoted cell ends before its delimiter. "
        'Write a quotation mark inside of a quoted cell twice ("").'
    )
    return BrokenRow.of(line, None, InvalidInput.code, reason, {}, "".join(lines.record).rstrip("\r\n"))


def _header(lines: Lines) -> tuple[list[str], str]:
    """Column names and delimiter. Raises FeedUnreadable."""
    for text in lines:
        stated = text.strip().lower()
        if stated.startswith("sep=") and len(stated) <= 5:
            continue
        if stated.strip(",;"):
            break
    else:
        raise FeedUnreadable(
            "The file is empty. Its first line names the columns, each further one is a row."
        )
    header = [text]
    while sum(line.count('"') for line in header) % 2:
        following = next(lines, None)
        if following is None:
            raise FeedUnreadable("A quotation mark in the header is never closed.")
        header.append(following)
    return _split(header)


def _split(header: list[str]) -> tuple[list[str], str]:
    found: list[tuple[int, int, list[str], str]] = []
    for delimiter in DELIMITERS:
        try:
            columns = [name.strip() for name in next(csv.reader(header, delimiter=delimiter, strict=True))]
        except csv.Error:
            continue
        while columns and not columns[-1]:
            columns.pop()
        found.append((known_columns(columns), len(columns), columns, delimiter))
    if not found:
        raise FeedUnreadable("The quotation marks of the header do not match.")
    _, width, columns, delimiter = max(found, key=lambda one: one[:2])
    if width > MAX_COLUMNS:
        raise FeedUnreadable(f"The header has {width} columns; the limit is {MAX_COLUMNS}.")
    for number, column in enumerate(columns, start=1):
        if len(column) > MAX_COLUMN_CHARS or "\x00" in column:
            raise FeedUnreadable(
                f"The name of column {number} has {len(column)} characters, at most {MAX_COLUMN_CHARS} are "
                "possible, or a zero byte. Is the first line the header?"
            )
    return columns, delimiter
