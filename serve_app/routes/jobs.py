"""/api/jobs/: the shop's imports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from models.import_api import JobDetail, JobPage, RowProblem, RowProblemPage
from serve_app.import_jobs import broken_rows_csv, cancel_import, get_import, list_errors, list_imports
from serve_app.paging import decode_cursor, encode_cursor
from serve_app.routes.dependencies import CallerDep, PresenterDep, ServicesDep

router = APIRouter(prefix="/api/jobs", tags=["jobs"])

JobId = Annotated[int, Path(ge=1, le=2**31 - 1)]
CSV = "text/csv"
ERRORS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {CSV: {"schema": {"type": "string"}}},
        "description": "Broken rows; as CSV all of them, in the columns of the file.",
    }
}


@router.get("/")
async def list_jobs(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    presenter: PresenterDep,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> JobPage:
    """List the shop's imports, newest first. Follow `next` until it is null."""
    views = await list_imports(services, caller.shop_id, decode_cursor(cursor), limit + 1)
    following = None
    if len(views) > limit:
        cursor = encode_cursor(views[limit - 1].job_id)
        following = presenter.absolute(request.url.include_query_params(cursor=cursor))
    return JobPage(results=[presenter.job(view) for view in views[:limit]], next=following)


@router.get("/{job_id}/")
async def read(job_id: JobId, services: ServicesDep, caller: CallerDep, presenter: PresenterDep) -> JobDetail:
    """Read one import: how far it is, and what became of its rows."""
    return presenter.job(await get_import(services, caller.shop_id, job_id))


@router.get("/{job_id}/errors/", response_model=RowProblemPage, responses=ERRORS)
async def errors(
    request: Request,
    job_id: JobId,
    services: ServicesDep,
    caller: CallerDep,
    presenter: PresenterDep,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    written_as: Annotated[
        Literal["json", "csv"] | None,
        Query(alias="format", description="Instead of the header `Accept: text/csv`."),
    ] = None,
) -> RowProblemPage | Response:
    """List an import's broken rows. As CSV they can be corrected and sent again."""
    accepted = request.headers.get("accept", "")
    if written_as == "csv" or (written_as is None and accepted.partition(",")[0].startswith(CSV)):
        name = f"job-{job_id}-broken-rows-{datetime.now(UTC):%Y-%m-%d}.csv"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        chunks = await broken_rows_csv(services, caller.shop_id, job_id)
        return StreamingResponse(chunks, headers=headers, media_type=CSV)
    after = decode_cursor(cursor) or 0
    rows = await list_errors(services, caller.shop_id, job_id, after, limit + 1)
    following = None
    if len(rows) > limit:
        cursor = encode_cursor(rows[limit - 1].line)
        following = presenter.absolute(request.url.include_query_params(cursor=cursor))
    shown = [RowProblem.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return RowProblemPage(results=shown, next=following)


@router.post("/{job_id}/cancel/", status_code=202, responses={409: {}})
async def cancel(
    job_id: JobId, services: ServicesDep, caller: CallerDep, presenter: PresenterDep
) -> JobDetail:
    """Cancel an import that is not finished. What is stored stays."""
    return presenter.job(await cancel_import(services, caller.shop_id, job_id))
