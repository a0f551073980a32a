"""A photo's row as an upload, a PATCH or an import makes and changes it: one meaning for all three."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from db.media import MediaStore
from models.errors import DependencyUnavailable
from models.image import TERM_COLUMNS, Image, PhotoColumns
from models.image_api import ImageFields
from serve_app.photos import PhotoInfo

logger = logging.getLogger("serve_app")


def new_row(shop_id: int, fields: ImageFields, photo: PhotoColumns) -> Image:
    """Not stored yet, and without its photo's key."""
    return Image(
        shop_id=shop_id,
        sku=fields.sku or f"photo-{uuid4().hex}",
        product_id=fields.product_id,
        name=fields.name,
        description=fields.description,
        category_id=fields.Category,
        style_id=fields.Styles,
        age_group_id=fields.AgeGroup,
        attributes=fields.attributes,
        product_url=fields.product_url,
        auto_tag=fields.auto_tag,
        suggestions={},  # said here, since a default costs a look at its factory's signature: 1 ms
        warnings=[],
        photo_key="",
        **photo,
    )


def photo_columns(photo: bytes, info: PhotoInfo) -> PhotoColumns:
    return PhotoColumns(
        photo_sha256=info.sha256,
        photo_bytes=len(photo),
        photo_width_px=info.width_px,
        photo_height_px=info.height_px,
        photo_type=info.media_type,
    )


def change_row(image: Image, given: Mapping[str, Any]) -> None:
    """Set the fields, by the names in which clients send them.

    What the shop says of a term is no suggestion any more, and is not filled in again until it asks.
    """
    for name, value in given.items():
        setattr(image, TERM_COLUMNS.get(name, name), value)
    if given.get("auto_tag"):
        image.suggestions = {name: mark for name, mark in image.suggestions.items() if mark is not None}
        image.metadata_revision += 1  # the Indexer looks at it
    image.suggestions = image.suggestions | dict.fromkeys(given.keys() & TERM_COLUMNS.keys())
    image.updated_at = datetime.now(UTC)


def remove_file(media: MediaStore, key: str) -> None:
    """No row names it; one that cannot be removed now does no harm, and goes with its folder later."""
    try:
        media.delete_tree(key)
    except DependencyUnavailable:
        logger.warning("the photo file %s could not be removed", key)


def news(image: Image, given: Mapping[str, Any]) -> dict[str, Any]:
    """What of the fields is not said by the row already; a term that the model filled in is not said."""
    return {
        name: value
        for name, value in given.items()
        if getattr(image, TERM_COLUMNS.get(name, name)) != value or image.suggestions.get(name) is not None
    }
