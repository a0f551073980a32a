"""Staff, and the record of what they did."""

from __future__ import annotations

from typing import Any, ClassVar

from sqladmin import action
from starlette.requests import Request
from starlette.responses import Response

from models.staff import AuditEntry, Staff
from serve_app.admin.record_view import RecordView
from serve_app.staff_accounts import deactivate_by_id


class StaffView(RecordView, model=Staff):
    name, name_plural, icon, category = "Person", "Staff", "fa-solid fa-user-shield", "Staff"
    hidden: ClassVar[Any] = [Staff.password_hash]
    column_list: ClassVar[Any] = ["id", "email", "active", "created_at", "last_login_at"]
    column_details_list: ClassVar[Any] = column_list
    column_searchable_list: ClassVar[Any] = ["email"]

    @action("deactivate", "Deactivate", "Deactivate these people? Their sessions end at once.")
    async def deactivate(self, request: Request) -> Response:
        return await self.each_selected(request, deactivate_by_id, "deactivated", "not active before")


class AuditView(RecordView, model=AuditEntry):
    name, name_plural, icon, category = "Entry", "Audit", "fa-solid fa-clipboard-list", "Staff"
    column_list: ClassVar[Any] = ["id", "created_at", "staff_email", "action", "target", "details"]
    column_details_list: ClassVar[Any] = [*column_list, "staff_id"]
    column_searchable_list: ClassVar[Any] = ["staff_email", "action", "target"]
