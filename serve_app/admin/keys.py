"""API keys, without anything of their secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqladmin import action
from starlette.requests import Request
from starlette.responses import Response

from models.shop import ApiKey, KeyScope
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter, one_of
from serve_app.admin.of_shop import ShopRecordView
from serve_app.manage_keys import revoke_any_key


class KeyView(ShopRecordView, model=ApiKey):
    name, name_plural, icon, category = "API key", "API keys", "fa-solid fa-key", "Shops"
    hidden: ClassVar[Any] = [ApiKey.secret_hmac]
    column_list: ClassVar[Any] = [
        *("id", "shop", "public_id", "scope", "name", "created_at"),
        *("expires_at", "revoked_at", "last_used_at"),
    ]
    column_details_list: ClassVar[Any] = [
        *column_list,
        "allowed_origins",
        "max_images",
        "requests_per_minute",
    ]
    column_formatters: ClassVar[Any] = {"shop": cells.shop, "name": cells.short}
    column_formatters_detail: ClassVar[Any] = {"shop": cells.shop}
    column_searchable_list: ClassVar[Any] = ["public_id", "name"]
    column_filters: ClassVar[Any] = [ShopFilter(ApiKey.shop_id), one_of(ApiKey.scope, KeyScope, "Scope")]

    @action("revoke", "Revoke", "Revoke these keys? They stop working within seconds, for good.")
    async def revoke(self, request: Request) -> Response:
        return await self.each_selected(request, revoke_any_key, "revoked", "revoked before")

    def changed(self, ids: Sequence[int], results: Sequence[Any]) -> None:  # noqa: ARG002
        """``results`` are the keys' shops."""
        for shop_id in results:
            self.services.callers.forget(shop_id)
