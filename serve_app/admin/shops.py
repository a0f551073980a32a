"""Shops: limits, suspended and active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import ValidationError
from sqladmin import action
from starlette.requests import Request
from starlette.responses import Response
from wtforms import Form, IntegerField, StringField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from db.images import MAX_ID
from models.errors import InvalidInput
from models.shop import Shop, ShopStatus
from serve_app.admin.filters import one_of
from serve_app.admin.record_view import RecordView
from serve_app.manage_shops import ShopChanges, activate_shop, change_shop, close_shop, suspend_shop

LIMIT = {
    "validators": [Optional(), NumberRange(1, MAX_ID)],
    "description": "Empty: the configuration's.",
    "render_kw": {"class": "form-control"},
}


class ShopForm(Form):
    """What staff may change of a shop."""

    name = StringField(
        "Name", validators=[InputRequired(), Length(1, 250)], render_kw={"class": "form-control"}
    )
    requests_per_minute = IntegerField("Requests per minute", **LIMIT)
    prompts_per_day = IntegerField("Prompts per day", **LIMIT)
    max_photos = IntegerField("Photos", **LIMIT)


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
        try:
            changes = ShopChanges.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidInput(f"{first['loc'][0]}: {first['msg']}.") from None
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
