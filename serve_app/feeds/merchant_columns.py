"""Google Merchant feeds: the attributes of its product data specification, by name.

https://support.google.com/merchants/answer/7052112
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import AppError, FeedUnreadable
from models.feed import BrokenRow, FeedRow, cell_text
from serve_app.feeds.attribute_cells import priced
from serve_app.feeds.check_row import Draft, checked_row
from serve_app.feeds.html_text import has_markup, plain_text
from serve_app.feeds.own_columns import normalised
from serve_app.feeds.photo_sources import FindPhoto, photo_source, photo_url
from serve_app.feeds.vocabulary import loose_terms

FIELDS = {
    "id": "sku",
    "title": "name",
    "description": "description",
    "item_group_id": "product_id",
    "link": "product_url",
}
PHOTO = "image_link"
REQUIRED = ("id", "title")
ATTRIBUTES = (
    *("brand", "color", "size", "size_type", "size_system", "gender", "age_group", "material", "pattern"),
    *("condition", "availability", "gtin", "mpn", "product_type"),
    *("google_product_category", "custom_label_0", "custom_label_1", "custom_label_2", "custom_label_3"),
    "custom_label_4",
)
CATEGORIES = ("product_type", "google_product_category")
PRICES = ("price", "sale_price")
NAMES = (*FIELDS, PHOTO, *ATTRIBUTES, *PRICES)


def merchant_name(column: str) -> str:
    """The attribute's name: without the namespace that XML and some tools give it."""
    return normalised(column).removeprefix("g:")


def is_merchant(names: frozenset[str]) -> bool:
    """Whether these names (``merchant_name``) are those of such a feed."""
    return names.issuperset(REQUIRED) and (PHOTO in names or "link" in names) and "handle" not in names


class MerchantColumns:
    """Reads the rows of one header; columns that are not among the known ones say nothing here."""

    def __init__(self, columns: Sequence[str], find_photo: FindPhoto | None) -> None:
        self._find_photo = find_photo
        self._columns: dict[str, str] = {}
        for column in columns:
            name = merchant_name(column)
            if name in NAMES and name in self._columns:
                raise FeedUnreadable(
                    f"The columns {self._columns[name]!r} and {column!r} are one attribute. Leave one out."
                )
            self._columns[name] = column
        self._fields = {field: self._columns[name] for name, field in FIELDS.items() if name in self._columns}

    def row(self, line: int, raw: Mapping[str, Any]) -> FeedRow | BrokenRow:
        """One row, checked."""
        cells = {name: cell_text(raw[column]).strip() for name, column in self._columns.items()}
        values: dict[str, Any] = {field: cells[name] for name, field in FIELDS.items() if name in cells}
        if has_markup(values.get("description", "")):
            values["description"] = plain_text(values["description"])
        values["attributes"] = {name: cells[name] for name in ATTRIBUTES if cells.get(name)}
        for name in PRICES:
            if cells.get(name):
                values["attributes"] |= priced(name, cells[name])
        draft = Draft(line, values, raw, self._fields)
        categories = [cells.get(name, "") for name in CATEGORIES]
        draft.loose_terms = loose_terms(categories, cells.get("age_group", ""))
        if link := cells.get(PHOTO):
            try:
                draft.photo = photo_source(link, self._find_photo) if self._find_photo else photo_url(link)
            except AppError as error:
                reason = f"{self._columns[PHOTO]}: {error.message}"
                return BrokenRow.of(line, cells.get("id"), error.code, reason, raw)
        return checked_row(draft)
