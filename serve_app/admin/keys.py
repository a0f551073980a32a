"""API keys, without anything of their secrets."""

from __future__ import annotations

from typing import Any, ClassVar

from models.shop import ApiKey, KeyScope
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter, one_of
from serve_app.admin.of_shop import ShopRecordView


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
