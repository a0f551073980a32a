"""Rows with our own columns: the fields of an upload, under the names that the API gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from models.errors import AppError, FeedUnreadable, InvalidInput
from models.feed import BrokenRow, FeedRow, PhotoData, PhotoSource
from serve_app.feeds.attribute_cells import attribute_value
from serve_app.feeds.check_row import Draft, checked_row
from serve_app.feeds.photo_sources import FindPhoto, photo_source, photo_url

FIELDS = {
    "sku": "sku",
    "name": "name",
    "description": "description",
    "category": "Category",
    "category_name": "Category",
    "style": "Styles",
    "styles": "Styles",
    "style_name": "Styles",
    "age_group": "AgeGroup",
    "agegroup": "AgeGroup",
    "age_group_name": "AgeGroup",
    "product_id": "product_id",
    "product_url": "product_url",
    "attributes": "attributes",
    "auto_tag": "auto_tag",
    "photo": "photo",
    "photo_url": "photo_url",
    "photo_base64": "photo_base64",
}
REQUIRED = ("sku", "name")
PHOTOS = ("photo", "photo_url", "photo_base64")
ATTRIBUTE = "attributes."
ATTRIBUTE_PREFIXES = (ATTRIBUTE, "attr_")
NUMBER = ":number"  # the end of an attribute's column
ANY_TYPE = ("attributes", "auto_tag")
_TEXTS = ("sku", "name", "description", "product_id", "product_url")


def normalised(column: str) -> str:
    """A column's name without what people write differently: case, spaces, hyphens."""
    return column.strip().lower().replace(" ", "_").replace("-", "_")


class OwnColumns:
    """Reads the rows of one header. Raises FeedUnreadable where that has columns that nobody knows."""

    def __init__(self, columns: Sequence[str], find_photo: FindPhoto | None) -> None:
        self._find_photo = find_photo
        self._fields: dict[str, str] = {}
        for column in columns:
            self._place(column, columns)
        named = [field for field in self._fields if field.startswith(ATTRIBUTE)]
        self._attributes = {self._fields.pop(field): field.removeprefix(ATTRIBUTE) for field in named}
        self._numbers = {column for column in self._attributes if column.strip().endswith(NUMBER)}
        self._photos = [self._fields.pop(photo) for photo in PHOTOS if photo in self._fields]

    def _place(self, column: str, columns: Sequence[str]) -> None:
        field = meaning(column)
        if not field:
            raise FeedUnreadable(unknown_column(column, columns))
        if field in self._fields:
            raise FeedUnreadable(
                f"The columns {self._fields[field]!r} and {column!r} are one field. Leave one out."
            )
        self._fields[field] = column

    def row(self, line: int, raw: Mapping[str, Any]) -> FeedRow | BrokenRow:
        """One row, checked."""
        values = {field: raw[column] for field, column in self._fields.items()}
        draft = Draft(line, values, raw, self._fields)
        try:
            self._fill(draft)
        except AppError as error:
            sku = values.get("sku")
            return BrokenRow.of(line, sku if isinstance(sku, str) else None, error.code, error.message, raw)
        return checked_row(draft)

    def _fill(self, draft: Draft) -> None:
        values = draft.values
        for name in _TEXTS:
            value = values.get(name, "")
            if value is None or (isinstance(value, int) and not isinstance(value, bool)):
                values[name] = "" if value is None else str(value)
        if "auto_tag" in values and values["auto_tag"] in ("", None):
            del values["auto_tag"]
        if self._attributes or "attributes" in values:
            values["attributes"] = self._merged(values.get("attributes"), draft.raw)
        if self._photos:
            draft.photo = self._photo(draft.raw)

    def _merged(self, given: Any, raw: Mapping[str, Any]) -> Any:
        base = _parsed(given, self._fields.get("attributes", "attributes"))
        if not isinstance(base, dict):
            return base
        named = {name: self._attribute(column, raw[column]) for column, name in self._attributes.items()}
        return {**base, **{name: value for name, value in named.items() if value is not None}}

    def _attribute(self, column: str, cell: Any) -> Any:
        try:
            return attribute_value(cell, is_number=column in self._numbers)
        except InvalidInput as error:
            raise InvalidInput(f"{column}: {error.message}") from None

    def _photo(self, raw: Mapping[str, Any]) -> PhotoSource | None:
        given = [(column, raw[column]) for column in self._photos if raw[column] not in ("", None)]
        given = [(column, text) for column, text in given if not isinstance(text, str) or text.strip()]
        if not given:
            return None
        column, text = given[0]
        if len(given) > 1:
            raise InvalidInput(f"{column} and {given[1][0]} both give a photo. Leave one of them empty.")
        if not isinstance(text, str):
            raise InvalidInput(f"{column}: must be text: a URL, base64 or the name of a file in the ZIP.")
        try:
            return self._source(normalised(column), text.strip())
        except AppError as error:
            raise type(error)(f"{column}: {error.message}") from None

    def _source(self, name: str, text: str) -> PhotoSource:
        if name == "photo_url":
            return photo_url(text)
        return PhotoData(text) if name == "photo_base64" else photo_source(text, self._find_photo)


def placed_columns(columns: Iterable[str]) -> list[str]:
    """Those that have a meaning here, the first one of each meaning."""
    return list({place: column for column in reversed(list(columns)) if (place := meaning(column))}.values())


def meaning(column: str) -> str:
    """The field that a column gives, or ``attributes.NAME``; "" for an unknown one."""
    attribute = _attribute_name(column)
    return f"{ATTRIBUTE}{attribute}" if attribute else FIELDS.get(normalised(column), "")


def unknown_column(column: str, columns: Sequence[str]) -> str:
    """The message for a column that does not exist, with the nearest one that does."""
    if not column.strip():
        return f"Column {list(columns).index(column) + 1} has no name. Name it, or remove it."
    nearest = get_close_matches(normalised(column), FIELDS, n=1, cutoff=0.6)
    hint = f"Did you mean {nearest[0]!r}?" if nearest else f"Known ones: {', '.join(FIELDS)}."
    shown = column.strip()[:100]
    return (
        f"The column {shown!r} is not known. {hint} Rename it (attributes.{shown} keeps it as an attribute), "
        "or remove it."
    )


def _attribute_name(column: str) -> str:
    stripped = column.strip()
    for prefix in ATTRIBUTE_PREFIXES:
        if stripped.lower().startswith(prefix):
            return stripped[len(prefix) :].removesuffix(NUMBER).strip()
    return ""


def _parsed(given: Any, column: str) -> Any:
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        raise InvalidInput(f'{column}: is not a JSON object, like {{"color": "red"}}.') from None
