"""/api/shops/me/: the caller's own shop, and its deletion."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from models.errors import NotFound
from models.own_shop_api import DeletionAccepted, DeletionReport, ShopChange, ShopDetail
from serve_app.delete_shop import delete_own_shop, deletion_report
from serve_app.my_shop import change_my_shop, my_shop
from serve_app.routes.dependencies import CallerDep, PresenterDep, ServicesDep

router = APIRouter(prefix="/api/shops", tags=["shop"])


@router.get("/me/")
async def read(services: ServicesDep, caller: CallerDep) -> ShopDetail:
    """Read the shop of this key, with its limits."""
    return await my_shop(services, caller.shop_id)


@router.patch("/me/")
async def change(body: ShopChange, services: ServicesDep, caller: CallerDep) -> ShopDetail:
    """Change the weight of text in search. The photos follow in the background."""
    return await change_my_shop(services, caller.shop_id, body)


@router.delete("/me/", status_code=202)
async def delete(services: ServicesDep, caller: CallerDep, presenter: PresenterDep) -> DeletionAccepted:
    """Delete the shop with everything it has, for good. Its keys stop working at once."""
    job = await delete_own_shop(services, caller.shop_id)
    address = presenter.at(services.report_signer.path(job.id or 0))
    return DeletionAccepted(job_id=job.id or 0, status=job.status, report=address)


@router.get("/deletions/{job_id}/")
async def report(
    job_id: Annotated[int, Path(ge=1, le=2**31 - 1)],
    response: Response,
    services: ServicesDep,
    expires: int = 0,
    signature: str = "",
) -> DeletionReport:
    """Read what a deletion removed. The address comes from the answer to DELETE and is the permission."""
    if not services.report_signer.valid(job_id, expires, signature):
        raise NotFound("This address is not valid or has expired.")
    response.headers["Cache-Control"] = "no-store"
    return await deletion_report(services, job_id)
