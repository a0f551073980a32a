"""Which kind of feed a header belongs to, by the names of its columns."""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import FeedUnreadable
from serve_app.feeds.own_columns import FIELDS, OwnColumns, normalised
from serve_app.feeds.photo_sources import FindPhoto


def known_columns(columns: Sequence[str]) -> int:
    """How many of them any layout knows."""
    return sum(normalised(column) in FIELDS for column in columns)


def layout_of(columns: Sequence[str], find_photo: FindPhoto | None) -> OwnColumns:
    """Raises FeedUnreadable for columns that are missing, unknown or there twice."""
    layout = OwnColumns(columns, find_photo)
    missing = layout.missing()
    if missing:
        raise FeedUnreadable(
            f"The feed has no column {' and no column '.join(map(repr, missing))}. "
            f"Its first line has: {', '.join(map(repr, columns))[:1000]}."
        )
    return layout
