"""Whether every part that a request needs answers now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import numpy as np
from sqlalchemy import text

from models.errors import AppError
from serve_app.services import Services

PATIENCE_S = 5.0
DISPENSABLE = {"rate_limits"}


async def check_readiness(services: Services) -> dict[str, str]:
    """``ok`` or the reason, per part; ``is_ready`` judges."""
    checks: dict[str, Awaitable[object]] = {
        "database": services.database.read(lambda session: session.execute(text("SELECT 1")).all()),
        "index": services.index.ping(),
        "text_embedder": services.text_embedder.ping(),
        "image_embedder": services.image_embedder.embed(np.empty((0, 1, 1, 3), np.uint8)),
    }
    answers = await asyncio.gather(*(_state(check) for check in checks.values()))
    return dict(zip(checks, answers, strict=True)) | {"rate_limits": await services.limiter.state()}


def is_ready(checks: dict[str, str]) -> bool:
    """Whether requests can be served; without what is dispensable they can."""
    return all(answer == "ok" for name, answer in checks.items() if name not in DISPENSABLE)


async def _state(check: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await check
    except TimeoutError:
        return f"no answer within {PATIENCE_S:g} s"
    except AppError as error:
        return error.message
    return "ok"
