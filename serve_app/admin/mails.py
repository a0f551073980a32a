"""The outbox."""

from __future__ import annotations

from typing import Any, ClassVar

from markupsafe import Markup
from sqladmin import action
from starlette.requests import Request
from starlette.responses import Response

from models.mail import Mail, MailStatus
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter, one_of
from serve_app.admin.of_shop import ShopRecordView
from serve_app.manage_mails import send_again, shown_link


def link(_: Mail, __: str, request: Request) -> Markup:
    """Only where no mail server is configured."""
    address = getattr(request.state, "link", None)
    return Markup("<a href='{0}' rel='noreferrer'>{0}</a>").format(address) if address else Markup("")


class MailView(ShopRecordView, model=Mail):
    name, icon, category = "Mail", "fa-solid fa-envelope", "Background"
    hidden: ClassVar[Any] = [Mail.lease_token]
    column_list: ClassVar[Any] = [
        *("id", "recipient", "shop", "kind", "status", "attempts", "error", "created_at", "sent_at"),
    ]
    column_details_list: ClassVar[Any] = [*column_list, "lease_until", "link"]
    column_formatters: ClassVar[Any] = {"shop": cells.shop, "error": cells.short}
    column_formatters_detail: ClassVar[Any] = {"shop": cells.shop, "error": cells.wrapped, "link": link}
    column_searchable_list: ClassVar[Any] = ["recipient"]
    column_filters: ClassVar[Any] = [one_of(Mail.status, MailStatus), ShopFilter(Mail.shop_id)]

    async def get_object_for_details(self, request: Request) -> Any:
        found = await super().get_object_for_details(request)
        # The library asks twice for each page; the link is shown, and audited, once.
        if found is not None and self.services.shows_links and not hasattr(request.state, "link"):
            request.state.link = await self.change(
                request, lambda session, staff: shown_link(session, staff, self.services, found)
            )
        return found

    @action("send-again", "Send again")
    async def send_again(self, request: Request) -> Response:
        return await self.each_selected(request, send_again, "queued again", "left alone: did not fail")
