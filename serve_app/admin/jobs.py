"""Longer work in the background."""

from __future__ import annotations

from typing import Any, ClassVar

from sqladmin import action
from starlette.requests import Request
from starlette.responses import Response

from models.job import Job, JobKind, JobStatus
from serve_app.admin import cells
from serve_app.admin.filters import ShopFilter, one_of
from serve_app.admin.of_shop import ShopRecordView
from serve_app.manage_jobs import cancel_job, retry_job


class JobView(ShopRecordView, model=Job):
    name, icon, category = "Job", "fa-solid fa-gears", "Background"
    hidden: ClassVar[Any] = [Job.lease_token]
    column_list: ClassVar[Any] = [
        *("id", "shop", "kind", "status", "phase", "counts", "attempts", "error"),
        *("created_at", "started_at", "finished_at"),
    ]
    column_details_list: ClassVar[Any] = [
        *column_list,
        *("error_code", "request", "idempotency_key", "cancel_requested", "served_at", "lease_until"),
    ]
    column_formatters: ClassVar[Any] = {"shop": cells.shop, "error": cells.short}
    column_formatters_detail: ClassVar[Any] = {"shop": cells.shop, "error": cells.wrapped}
    column_filters: ClassVar[Any] = [
        one_of(Job.status, JobStatus),
        one_of(Job.kind, JobKind, "Kind"),
        ShopFilter(Job.shop_id),
    ]

    @action("retry", "Retry failed")
    async def retry(self, request: Request) -> Response:
        others = "left alone: did not fail, or imports, which their shop sends again, or of scripts.reindex"
        return await self.each_selected(request, retry_job, "queued again", others)

    @action("cancel", "Cancel imports")
    async def cancel(self, request: Request) -> Response:
        others = "left alone: no import, or finished"
        return await self.each_selected(request, cancel_job, "cancelled", others)
