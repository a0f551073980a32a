"""Follows the index version that is live, so that new requests are answered with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from db import index_versions
from models.errors import AppError
from models.image import IndexVersion
from serve_app.background import in_background
from serve_app.services import Services

logger = logging.getLogger("serve_app")
POLL_INTERVAL_S = 0.5
Connect = Callable[[IndexVersion], Services]


class LiveVersion:
    """``services`` are those of the version that was live when it was last asked for.

    Another version's are shown once both of its embedders have answered. Whatever fails before that leaves
    the former ones, and is tried again in the next round (docs/decisions, 0030).
    """

    def __init__(self, services: Services, version_id: int, connect: Connect) -> None:
        """``services`` are those of version ``version_id``.

        ``connect`` makes those of another one. It may block, and raises AppError where it cannot.
        """
        self.services = services
        self._version_id = version_id
        self._connect = connect
        self._told: str | None = None

    async def look(self) -> None:
        """One round. Raises AppError, and then ``services`` are as before."""
        version = await self.services.database.read(index_versions.live)
        if version is None or version.id is None or version.id == self._version_id:
            return
        services = await asyncio.to_thread(self._connect, version)
        await asyncio.gather(
            services.text_embedder.ping(),
            services.image_embedder.embed(np.empty((0, 1, 1, 3), np.uint8)),
        )
        self.services, self._version_id = services, version.id
        logger.info("requests are answered by index version %s, %s", version.id, services.model.label)

    @asynccontextmanager
    async def running(self, show: Callable[[Services], None]) -> AsyncIterator[None]:
        """Looks before the block, since a replica that starts late was told another version, and then again
        and again while it lasts. ``show`` is given the services after each round."""
        await self._round(show)
        async with in_background(self._rounds(show)):
            yield

    async def _rounds(self, show: Callable[[Services], None]) -> None:
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            await self._round(show)

    async def _round(self, show: Callable[[Services], None]) -> None:
        try:
            await self.look()
            self._told = None
        except AppError as error:
            self._tell(error.message)
        except Exception:  # whatever it is, the next flip must be seen
            logger.exception("the live index version cannot be followed")
        show(self.services)

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            logger.warning("requests stay with index version %s: %s", self._version_id, reason)
        self._told = reason
