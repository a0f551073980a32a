"""Shopify's product export: several lines a product, one for each variant and each further photo.

https://help.shopify.com/en/manual/products/import-export/using-csv
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import AppError, FeedUnreadable, InvalidInput
from models.feed import BrokenRow, FeedRow
from serve_app.feeds.attribute_cells import priced
from serve_app.feeds.check_row import Draft, checked_row
from serve_app.feeds.html_text import plain_text
from serve_app.feeds.own_columns import normalised
from serve_app.feeds.photo_sources import FindPhoto, photo_source, photo_url
from serve_app.feeds.vocabulary import loose_terms

MAX_NAME_CHARS, MAX_DESCRIPTION_CHARS = 250, 5_000
OPTIONS = (1, 2, 3)
NO_OPTIONS = "Default Title"
# Ours, then what the export calls it: until 2024, and since. The first one that is there counts.
NAMES: dict[str, tuple[str, ...]] = {
    "handle": ("handle", "url_handle"),
    "title": ("title",),
    "body": ("body_(html)", "body_html", "body", "description"),
    "vendor": ("vendor",),
    "category": ("product_category", "standardized_product_type", "standard_product_type"),
    "type": ("type", "custom_product_type"),
    "tags": ("tags",),
    "published": ("published", "published_on_online_store"),
    "status": ("status",),
    **{f"option{i}_name": (f"option{i}_name",) for i in OPTIONS},
    **{f"option{i}_value": (f"option{i}_value",) for i in OPTIONS},
    "sku": ("variant_sku", "sku"),
    "price": ("variant_price", "price"),
    "image": ("image_src", "product_image_url"),
    "variant_image": ("variant_image", "variant_image_url"),
    "gender": ("google_shopping_/_gender",),
    "age_group": ("google_shopping_/_age_group",),
}
_BY_COLUMN = {column: name for name, columns in NAMES.items() for column in columns}
COLUMNS = tuple(_BY_COLUMN)
_MARKS = frozenset({"option1_value", "variant_sku", "variant_price", "image_src", "product_image_url"})
# What only the first line of a product says, and all its variants have.
_OF_PRODUCT = (
    *("title", "body", "vendor", "category", "type", "tags", "published", "status", "gender", "age_group"),
    *(f"option{i}_name" for i in OPTIONS),
)
_OF_VARIANT = ("sku", "price", *(f"option{i}_value" for i in OPTIONS))
_PLAIN_ATTRIBUTES = ("vendor", "type", "gender", "age_group")


def is_shopify(names: frozenset[str]) -> bool:
    """Whether these names (``normalised``) are those of such an export."""
    return bool(names & {"handle", "url_handle"}) and "title" in names and bool(names & _MARKS)


class ShopifyColumns:
    """Reads the lines of one export, in their order: those of one product stand together."""

    def __init__(self, columns: Sequence[str], find_photo: FindPhoto | None) -> None:
        self._find_photo = find_photo
        self._columns: dict[str, str] = {}
        given: dict[str, str] = {}
        for column in columns:
            if normalised(column) in _BY_COLUMN and normalised(column) in given:
                raise FeedUnreadable(f"The column {column!r} is there twice. Leave one out.")
            given[normalised(column)] = column
        for name, spellings in NAMES.items():
            found = [given[spelling] for spelling in spellings if spelling in given]
            self._columns |= {name: found[0]} if found else {}
        fields = {
            "sku": "sku",
            "name": "title",
            "description": "body",
            "product_id": "handle",
            "attributes": "tags",
        }
        self._fields = {field: self._columns.get(name, name) for field, name in fields.items()}
        self._product: dict[str, str] = {}
        self._handle = ""

    def row(self, line: int, raw: Mapping[str, str]) -> FeedRow | BrokenRow | None:
        """One variant, checked; None for a further photo, and for what is not on sale."""
        cells = {name: raw[column].strip() for name, column in self._columns.items()}
        handle = cells["handle"]
        if not handle:
            reason = f"{self._columns['handle']}: is empty. It says which product the line belongs to."
            return BrokenRow.of(line, None, InvalidInput.code, reason, raw)
        begins = handle != self._handle
        if begins:
            self._handle = handle
            self._product = {name: cells[name] for name in (*_OF_PRODUCT, "image") if name in cells}
        if not begins and not any(cells.get(name) for name in _OF_VARIANT):
            return None
        whole = cells | {
            name: value for name, value in self._product.items() if not cells[name] or name == "image"
        }
        if not _is_on_sale(whole):
            return None
        texts = {self._columns[name]: whole[name] for name in self._product if whole[name] != cells[name]}
        return self._variant(line, whole, {**raw, **texts})

    def _variant(self, line: int, cells: dict[str, str], raw: Mapping[str, str]) -> FeedRow | BrokenRow:
        options = _options(cells)
        sku = cells.get("sku", "").removeprefix("'") or ":".join(
            [cells["handle"], *(["/".join(options.values())] if options else [])]
        )
        values = {
            "sku": sku,
            "name": cells["title"][:MAX_NAME_CHARS],
            "description": plain_text(cells.get("body", ""))[:MAX_DESCRIPTION_CHARS],
            "product_id": cells["handle"],
            "attributes": _attributes(cells) | options,
        }
        draft = Draft(line, values, raw, self._fields)
        categories = [cells.get("type", ""), cells.get("category", "")]
        draft.loose_terms = loose_terms(categories, cells.get("age_group", ""))
        shown = "variant_image" if cells.get("variant_image") else "image"
        if link := cells.get(shown):
            try:
                draft.photo = photo_source(link, self._find_photo) if self._find_photo else photo_url(link)
            except AppError as error:
                return BrokenRow.of(line, sku, error.code, f"{self._columns[shown]}: {error.message}", raw)
        return checked_row(draft)


def _is_on_sale(cells: Mapping[str, str]) -> bool:
    unpublished = cells.get("published", "").lower() == "false"
    return not unpublished and cells.get("status", "").lower() not in ("draft", "archived")


def _options(cells: Mapping[str, str]) -> dict[str, str]:
    """The variant's values by the names of the options; {} where the product has one variant only."""
    named = {
        cells.get(f"option{i}_name", "").lower() or f"option{i}": value
        for i in OPTIONS
        if (value := cells.get(f"option{i}_value", ""))
    }
    return {} if list(named.values()) == [NO_OPTIONS] else named


def _attributes(cells: Mapping[str, str]) -> dict[str, Any]:
    plain: dict[str, Any] = {name: cells[name] for name in _PLAIN_ATTRIBUTES if cells.get(name)}
    tags = [tag.strip() for tag in cells.get("tags", "").split(",") if tag.strip()]
    price = priced("price", cells["price"]) if cells.get("price") else {}
    return plain | price | ({"tags": tags} if tags else {})
