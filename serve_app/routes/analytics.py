"""/api/analytics/: what shoppers look for, what they find, and what they miss."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from models.analytics_api import PromptAnalytics, UnmetDemand
from serve_app.analytics import prompt_analytics, unmet_demand
from serve_app.routes.dependencies import CallerDep, ServicesDep

router = APIRouter(prefix="/api/analytics", tags=["insight"])

Days = Annotated[int, Query(ge=1, le=90, description="Whole UTC days, the last of them today.")]
Limit = Annotated[int, Query(ge=1, le=100, description="Length of each list.")]


@router.get("/prompts/")
async def prompts(
    services: ServicesDep, caller: CallerDep, days: Days = 30, limit: Limit = 20
) -> PromptAnalytics:
    """Count prompts: those asked most, without a match and without a click; click-through by day."""
    return await prompt_analytics(services, caller.shop_id, days, datetime.now(UTC).date(), limit)


@router.get("/unmet-demand/")
async def unmet(services: ServicesDep, caller: CallerDep, days: Days = 30, limit: Limit = 20) -> UnmetDemand:
    """Group what was asked for in vain by theme: prompts without a match, with low scores or without clicks.

    The first request embeds prompts that it has not seen, which takes some seconds.
    """
    return await unmet_demand(services, caller.shop_id, days, datetime.now(UTC).date(), limit)
