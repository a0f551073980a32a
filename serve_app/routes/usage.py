"""/api/usage/: what the shop has and used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from models.usage_api import Usage
from serve_app.my_shop import usage_of
from serve_app.routes.dependencies import CallerDep, ServicesDep

router = APIRouter(prefix="/api/usage", tags=["shop"])


@router.get("/")
async def read(
    services: ServicesDep, caller: CallerDep, days: Annotated[int, Query(ge=1, le=366)] = 30
) -> Usage:
    """Photos, storage, prompts and their latency by UTC day."""
    return await usage_of(services, caller.shop_id, days, datetime.now(UTC).date())
