"""What the audits of the search index found."""

from __future__ import annotations

from typing import Any, ClassVar

from models.index_audit import IndexAudit
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter
from serve_app.admin.of_shop import ShopRecordView


class IndexAuditView(ShopRecordView, model=IndexAudit):
    name, icon, category = "Index audit", "fa-solid fa-stethoscope", "Background"
    can_view_details = False
    hidden: ClassVar[Any] = [IndexAudit.lease_token]
    column_list: ClassVar[Any] = ["version_id", "shop", "found", "repaired", "audited_at", "lease_until"]
    column_formatters: ClassVar[Any] = {"shop": cells.shop}
    column_filters: ClassVar[Any] = [ShopFilter(IndexAudit.shop_id)]
    column_default_sort: ClassVar[Any] = ("audited_at", True)
