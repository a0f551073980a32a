"""Shoppers' prompts and what they were shown."""

from __future__ import annotations

from typing import Any, ClassVar

from markupsafe import Markup
from starlette.requests import Request

from db import images
from models.prompt import Prompt
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter
from serve_app.admin.of_shop import ShopRecordView
from serve_app.admin.thumbnails import thumbnail


def results(model: Prompt, _: str, request: Request) -> Markup:
    """The photos in the order of their answer, with their scores."""
    found = request.state.results
    lines = []
    for image_id, score in zip(model.result_ids, model.scores, strict=False):
        image = found.get(image_id)
        shown = thumbnail(request, image, height_px=72) if image is not None else "(deleted)"
        address = request.url_for("admin:details", identity="image", pk=image_id)
        lines.append(Markup("<li>{} <a href='{}'>{}</a> {:.4f}</li>").format(shown, address, image_id, score))
    return Markup("<ol start='{}'>{}</ol>").format(model.offset + 1, Markup("").join(lines))


def result_count(model: Prompt, _: str) -> str:
    return str(len(model.result_ids))


class PromptView(ShopRecordView, model=Prompt):
    name, icon, category = "Prompt", "fa-solid fa-comment", "Prompts"
    column_list: ClassVar[Any] = [
        *("created_at", "shop", "prompt", "number_recommended", "results", "no_match", "duration_ms"),
    ]
    column_details_list: ClassVar[Any] = [
        *(
            "id",
            "created_at",
            "shop",
            "api_key_id",
            "prompt",
            "query",
            "filters",
            "number_recommended",
            "results",
        ),
        *("no_match", "duration_ms", "model_key"),
    ]
    column_formatters: ClassVar[Any] = {"shop": cells.shop, "prompt": cells.short, "results": result_count}
    column_formatters_detail: ClassVar[Any] = {
        "shop": cells.shop,
        "prompt": cells.wrapped,
        "results": results,
    }
    column_default_sort: ClassVar[Any] = ("created_at", True)
    column_searchable_list: ClassVar[Any] = ["prompt"]
    column_filters: ClassVar[Any] = [ShopFilter(Prompt.shop_id)]

    async def get_object_for_details(self, request: Request) -> Any:
        found = await super().get_object_for_details(request)
        ids = found.result_ids if found is not None else []
        request.state.results = await self.services.database.read(lambda session: images.by_id(session, ids))
        return found
