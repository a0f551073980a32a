"""Cells of a table as values of attributes: texts, numbers, lists of either."""

from __future__ import annotations

import math
import re
from typing import Any

from models.errors import InvalidInput

LIST_MARK = "|"
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_PRICE = re.compile(r"([0-9]{1,15}(?:[.,][0-9]{1,6})?)(?:\s*([A-Za-z]{3}))?")


def attribute_value(cell: Any, *, is_number: bool) -> Any:
    """None for an empty cell; a list where it has the mark of one. Raises InvalidInput."""
    if not isinstance(cell, str):
        return cell
    parts = [part.strip() for part in cell.split(LIST_MARK) if part.strip()]
    values: list[Any] = [_number(part) for part in parts] if is_number else list(parts)
    if LIST_MARK in cell:
        return values or None
    return values[0] if values else None


def _number(text: str) -> int | float:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(f"{text[:60]!r} is no number. Write it like 49.9.")
    return number


def priced(name: str, cell: str) -> dict[str, Any]:
    """A price such as "15.00 GBP" as a number, for ranges, and its currency; other text as it is."""
    found = _PRICE.fullmatch(cell)
    if not found:
        return {name: cell}
    amount = {name: float(found[1].replace(",", "."))}
    return amount | ({"currency": found[2].upper()} if found[2] else {})
