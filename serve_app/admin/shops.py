"""Shops: limits, suspended and active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqladmin import action
from starlette.requests import Request
from starlette.responses import Response

from models.shop import Shop, ShopStatus
from serve_app.admin.filters import one_of
from serve_app.admin.forms import ShopForm, checked
from serve_app.admin.record_view import RecordView
from serve_app.manage_shops import ShopChanges, activate_shop, change_shop, close_shop, suspend_shop


class ShopView(RecordView, model=Shop):
    name, icon, category = "Shop", "fa-solid fa-store", "Shops"
    can_edit = True
    form = ShopForm
    form_columns: ClassVar[Any] = list(ShopChanges.model_fields)
    column_list: ClassVar[Any] = ["id", "name", "email", "status", "created_at", "activated_at"]
    column_details_list: ClassVar[Any] = [
        *("id", "name", "email", "status", "requests_per_minute", "prompts_per_day", "max_photos"),
        *("created_at", "activated_at"),
    ]
    column_sortable_list: ClassVar[Any] = ["id", "name", "email"]
    column_searchable_list: ClassVar[Any] = ["name", "email"]
    column_filters: ClassVar[Any] = [one_of(Shop.status, ShopStatus)]

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> Any:
        changes = checked(ShopChanges, data)
        shop = await self.change(
            request, lambda session, staff: change_shop(session, staff, int(pk), changes)
        )
        self.changed([int(pk)], [shop])
        return shop

    def changed(self, ids: Sequence[int], results: Sequence[Any]) -> None:  # noqa: ARG002
        """Their keys know the new state and limits at once here, elsewhere within seconds."""
        for shop_id in ids:
            self.services.callers.forget(shop_id)

    @action("suspend", "Suspend", "Suspend these shops? Their keys stop working within seconds.")
    async def suspend(self, request: Request) -> Response:
        return await self.each_selected(request, suspend_shop, "suspended", "not active before")

    @action("activate", "Activate", "Let these suspended shops work again?")
    async def activate(self, request: Request) -> Response:
        return await self.each_selected(request, activate_shop, "active again", "not suspended before")

    @action(
        "delete",
        "Delete for good",
        "Delete these shops for good, with all photos, vectors, keys and prompts? This cannot be undone.",
    )
    async def delete(self, request: Request) -> Response:
        return await self.each_selected(request, close_shop, "being deleted, see Jobs", "in deletion already")
