"""The outbox."""

from __future__ import annotations

from typing import Any, ClassVar

from models.mail import Mail, MailStatus
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter, one_of
from serve_app.admin.of_shop import ShopRecordView


class MailView(ShopRecordView, model=Mail):
    name, icon, category = "Mail", "fa-solid fa-envelope", "Background"
    hidden: ClassVar[Any] = [Mail.lease_token]
    column_list: ClassVar[Any] = [
        *("id", "recipient", "shop", "kind", "status", "attempts", "error", "created_at", "sent_at"),
    ]
    column_details_list: ClassVar[Any] = [*column_list, "lease_until"]
    column_formatters: ClassVar[Any] = {"shop": cells.shop, "error": cells.short}
    column_formatters_detail: ClassVar[Any] = {"shop": cells.shop, "error": cells.wrapped}
    column_searchable_list: ClassVar[Any] = ["recipient"]
    column_filters: ClassVar[Any] = [one_of(Mail.status, MailStatus), ShopFilter(Mail.shop_id)]
