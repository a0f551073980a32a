"""Which kind of feed a header belongs to, by the names of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

from models.errors import FeedUnreadable
from models.feed import BrokenRow, FeedRow
from serve_app.feeds import merchant_columns, own_columns, shopify_columns
from serve_app.feeds.merchant_columns import MerchantColumns, is_merchant, merchant_name
from serve_app.feeds.own_columns import OwnColumns, normalised
from serve_app.feeds.photo_sources import FindPhoto
from serve_app.feeds.shopify_columns import ShopifyColumns, is_shopify

_KNOWN = frozenset({*own_columns.FIELDS, *shopify_columns.COLUMNS, *merchant_columns.NAMES})


class Layout(Protocol):
    """What the columns of a feed mean."""

    def row(self, line: int, raw: Mapping[str, Any]) -> FeedRow | BrokenRow | None:
        """One row; None for one that describes no item."""
        ...


def known_columns(columns: Sequence[str]) -> int:
    """How many of them any layout knows."""
    return sum(merchant_name(column) in _KNOWN for column in columns)


def layout_of(columns: Sequence[str], find_photo: FindPhoto | None) -> Layout:
    """For the rows of a table. Raises FeedUnreadable for columns that are missing, unknown or there twice."""
    if is_shopify(frozenset(map(normalised, columns))):
        return ShopifyColumns(columns, find_photo)
    if is_merchant(frozenset(map(merchant_name, columns))):
        return MerchantColumns(columns, find_photo)
    _check_required(columns)
    return OwnColumns(columns, find_photo)


def record_layout(columns: Sequence[str], find_photo: FindPhoto | None) -> OwnColumns | MerchantColumns:
    """For records that have the same keys; each is read for itself. Raises FeedUnreadable."""
    if is_merchant(frozenset(map(merchant_name, columns))):
        return MerchantColumns(columns, find_photo)
    return OwnColumns(columns, find_photo)


def _check_required(columns: Sequence[str]) -> None:
    fields = {own_columns.FIELDS.get(normalised(column)) for column in columns}
    missing = [name for name in own_columns.REQUIRED if name not in fields]
    if not missing:
        return
    hints = [
        f"Is {nearest[0]!r} meant to be {name!r}?"
        for name in missing
        if (nearest := get_close_matches(name, columns, n=1, cutoff=0.6))
    ]
    found = ", ".join(map(repr, columns))[:400] or "nothing"
    raise FeedUnreadable(
        " ".join(
            [
                f"The feed has no column {' and no column '.join(map(repr, missing))}.",
                f"Its first line names: {found}.",
                *hints,
                "Every row needs these two, unless it is a Shopify export (Handle, Title, …) or a Google "
                "Merchant feed (id, title, image_link, …).",
            ]
        )
    )


def is_own(columns: Sequence[str]) -> bool:
    """Whether rows with these columns are read as our own."""
    shopify = is_shopify(frozenset(map(normalised, columns)))
    return not shopify and not is_merchant(frozenset(map(merchant_name, columns)))
