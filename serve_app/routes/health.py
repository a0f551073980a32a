"""/healthz and /readyz."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from serve_app.readiness import check_readiness, is_ready
from serve_app.routes.dependencies import ServicesDep

router = APIRouter(tags=["health"])
NOT_READY = {"model": dict[str, Any], "description": "A part does not answer; `checks` says which."}


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process runs."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: NOT_READY})
async def readyz(response: Response, services: ServicesDep) -> dict[str, Any]:
    """Whether every part answers. 503 names those that do not: embedders, index, database.

    `rate_limits` tells whether limits can be counted; requests are served either way.
    """
    checks = await check_readiness(services)
    ready = is_ready(checks)
    response.status_code = 200 if ready else 503
    return {
        "status": "ready" if ready else "not ready",
        "checks": checks,
        "model": services.model.label,
        "fallback_model": services.model.fell_back,
    }
