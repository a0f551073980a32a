"""The broken rows of an import as CSV: to correct in a spreadsheet and send again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from models.feed import ERROR_CODE, ERROR_COLUMNS, ERROR_LINE, ERROR_REASON, ERROR_TEXT
from serve_app.feeds.layouts import is_own
from serve_app.feeds.own_columns import REQUIRED, meaning


@dataclass(frozen=True, slots=True)
class WrittenRow:
    """A broken row as it was kept: ``cells`` is its ``BrokenRow.raw``."""

    line: int
    code: str
    reason: str
    cells: Mapping[str, str]


class BrokenRowsCsv:
    """One header for rows whose columns differ. Columns of one meaning become one."""

    def __init__(self, columns: Iterable[str]) -> None:
        """``columns``: of all rows, as often as they occur; they keep the order in which they first do."""
        known = [column for column in dict.fromkeys(columns) if column not in ERROR_COLUMNS]
        own = is_own(known)
        if own:
            known = [*_lacking(known), *known]
        self._written: dict[str, str] = {}
        places: dict[str, str] = {}
        for column in known:
            self._written[column] = places.setdefault((meaning(column) if own else "") or column, column)
        self.columns = [*dict.fromkeys(self._written.values()), *ERROR_COLUMNS]

    def header(self) -> str:
        """The first line."""
        return _csv_line(self.columns)

    def lines(self, rows: Iterable[WrittenRow]) -> Iterator[str]:
        """A record for each row."""
        for row in rows:
            cells = {
                self._written[column]: cell for column, cell in row.cells.items() if column in self._written
            }
            explained = {ERROR_LINE: str(row.line), ERROR_CODE: row.code, ERROR_REASON: row.reason}
            cells |= explained | {ERROR_TEXT: row.cells.get(ERROR_TEXT, "")}
            yield _csv_line([cells.get(column, "") for column in self.columns])


def _lacking(columns: Iterable[str]) -> list[str]:
    """The columns without which no feed is read."""
    present = {meaning(column) for column in columns}
    return [name for name in REQUIRED if name not in present]


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
