"""Records that belong to a shop: its name stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqladmin.pagination import Pagination
from starlette.requests import Request

from db import shops
from serve_app.admin.record_view import RecordView


class ShopRecordView(RecordView):
    """The names of a page's shops are read at once and kept with the request, for ``cells.shop``."""

    async def list(self, request: Request) -> Pagination:
        pagination = await super().list(request)
        await self._name_shops(request, pagination.rows)
        return pagination

    async def get_object_for_details(self, request: Request) -> Any:
        found = await super().get_object_for_details(request)
        await self._name_shops(request, [found] if found is not None else [])
        return found

    async def _name_shops(self, request: Request, rows: Sequence[Any]) -> None:
        ids = {row.shop_id for row in rows if row.shop_id is not None}
        request.state.shop_names = await self.services.database.read(
            lambda session: shops.names(session, ids)
        )
