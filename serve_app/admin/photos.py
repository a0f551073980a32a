"""Photos with their thumbnails and their state in the index."""

from __future__ import annotations

from typing import Any, ClassVar

from markupsafe import Markup
from sqladmin import action
from starlette.requests import Request
from starlette.responses import Response

from models.image import Image, ImageStatus
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter, one_of
from serve_app.admin.of_shop import ShopRecordView
from serve_app.admin.thumbnails import thumbnail
from serve_app.manage_photos import reindex_photo, retry_photo


def photo(model: Image, _: str, request: Request) -> Markup:
    return thumbnail(request, model, height_px=72)


def large_photo(model: Image, _: str, request: Request) -> Markup:
    return thumbnail(request, model, height_px=320)


def index_state(model: Image, _: str) -> str:
    """What the search index holds of it."""
    if model.status is not ImageStatus.EMBEDDED:
        return "not in the index"
    return (
        "up to date" if model.metadata_revision == model.indexed_revision else "its metadata is being updated"
    )


class PhotoView(ShopRecordView, model=Image):
    name, icon, category = "Photo", "fa-solid fa-image", "Photos"
    column_list: ClassVar[Any] = [
        *("photo", "id", "shop", "sku", "name", "status", "index", "attempts", "error", "updated_at"),
    ]
    column_details_list: ClassVar[Any] = [
        *("photo", "id", "shop", "sku", "product_id", "name", "description", "status", "index", "attempts"),
        *("error", "category_id", "style_id", "age_group_id", "attributes", "product_url", "photo_sha256"),
        *("photo_bytes", "photo_width_px", "photo_height_px", "photo_type", "lease_until"),
        *("created_at", "updated_at", "embedded_at"),
    ]
    column_formatters: ClassVar[Any] = {
        "photo": photo,
        "shop": cells.shop,
        "index": index_state,
        "name": cells.short,
        "sku": cells.short,
        "error": cells.short,
    }
    column_formatters_detail: ClassVar[Any] = {
        "photo": large_photo,
        "shop": cells.shop,
        "index": index_state,
        "name": cells.wrapped,
        "description": cells.wrapped,
        "error": cells.wrapped,
    }
    column_searchable_list: ClassVar[Any] = ["sku", "name"]
    column_filters: ClassVar[Any] = [one_of(Image.status, ImageStatus), ShopFilter(Image.shop_id)]

    @action("retry", "Retry failed")
    async def retry(self, request: Request) -> Response:
        return await self.each_selected(request, retry_photo, "queued again", "left alone: did not fail")

    @action("reindex", "Re-index")
    async def reindex(self, request: Request) -> Response:
        return await self.each_selected(
            request, reindex_photo, "queued for the index", "left alone: in work already"
        )
