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
from serve_app.manage_jobs import retry_job


class JobView(ShopRecordView, model=Job):
    name, icon, category = "Job", "fa-solid fa-gears", "Background"
    hidden: ClassVar[Any] = [Job.lease_token]
    column_list: ClassVar[Any] = [
        *("id", "shop", "kind", "status", "counts", "attempts", "error"),
        *("created_at", "started_at", "finished_at"),
    ]
    column_details_list: ClassVar[Any] = [*column_list, "lease_until"]
    column_formatters: ClassVar[Any] = {"shop": cells.shop, "error": cells.short}
    column_formatters_detail: ClassVar[Any] = {"shop": cells.shop, "error": cells.wrapped}
    column_filters: ClassVar[Any] = [
        one_of(Job.status, JobStatus),
        one_of(Job.kind, JobKind, "Kind"),
        ShopFilter(Job.shop_id),
    ]

    @action("retry", "Retry failed")
    async def retry(self, request: Request) -> Response:
        return await self.each_selected(request, retry_job, "queued again", "left alone: did not fail")
