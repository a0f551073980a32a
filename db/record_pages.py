"""Long tables as pages: what a list loads of each row, and how far it counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import defer

MAX_COUNTED = 10_000


def without(query: Select[Any], columns: Sequence[Any]) -> Select[Any]:
    """The same rows without these columns: they are not read, and cannot be."""
    return query.options(*(defer(column, raiseload=True) for column in columns))


def counted(query: Select[Any]) -> Select[Any]:
    """How many rows it has, up to ``MAX_COUNTED``: a page of a long table reads no more than that."""
    return select(func.count()).select_from(query.limit(MAX_COUNTED).subquery())


def source(count: Select[Any]) -> Select[Any]:
    """The query that ``SELECT count(*) FROM (query)`` counts."""
    subquery: Any = count.get_final_froms()[0]
    found = subquery.element
    if not isinstance(found, Select):
        raise AssertionError("a count of something else than a query")
    return found
