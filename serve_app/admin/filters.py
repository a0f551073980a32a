"""Filters of the lists."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqladmin.filters import StaticValuesFilter
from starlette.exceptions import HTTPException
from starlette.requests import Request

from db.images import MAX_ID


def one_of(column: Any, kind: type[StrEnum], title: str = "Status") -> StaticValuesFilter:
    """Links, one for each value."""
    values = [(member.value, member.value.replace("_", " ")) for member in kind]
    return StaticValuesFilter(column, values, title=title)


class ShopFilter:
    """A field for a shop's id: a list of all shops would be too long."""

    has_operator = False
    template = "admin/number_filter.html"
    title = "Shop id"

    def __init__(self, column: Any) -> None:
        self.column = column
        self.parameter_name = "shop_id"

    async def lookups(self, request: Request, model: Any, run_query: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return []

    async def get_filtered_query(self, query: Any, value: Any, model: Any) -> Any:  # noqa: ARG002
        if not str(value).isdecimal() or not 0 < int(str(value)[:20]) <= MAX_ID:
            raise HTTPException(400, "A shop's id is a number, such as 1.")
        return query.where(self.column == int(value))
