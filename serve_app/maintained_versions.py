"""Follows the index versions that background work is done for: the live one, and the one being built."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from db import index_versions
from db.session import Database
from models.errors import AppError
from models.image import IndexState, IndexVersion

logger = logging.getLogger("serve_app")
POLL_INTERVAL_S = 0.5
PROBE_INTERVAL_S = 5.0
Connected = TypeVar("Connected")


class MaintainedVersions(Generic[Connected]):
    """``live`` and ``building`` are None where there is none, and where it cannot be connected to (yet).

    ``beside`` is the building one while its embedders answer.
    """

    def __init__(
        self,
        database: Database,
        connect: Callable[[IndexVersion], Connected],
        probe: Callable[[Connected], Awaitable[object]],
    ) -> None:
        """``connect`` may block. Both raise AppError where the version cannot be worked for."""
        self._database, self._connect, self._probe = database, connect, probe
        self._known: dict[tuple[object, ...], Connected] = {}
        self._told: dict[IndexState, str] = {}
        self._answering: Connected | None = None
        self.live: Connected | None = None
        self.building: Connected | None = None

    @property
    def beside(self) -> Connected | None:
        building = self.building
        return building if building is self._answering else None

    async def follow(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except AppError as error:
                logger.warning("the index versions cannot be looked up: %s", error.message)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def probe(self) -> None:
        """For ever."""
        while True:
            await self.ask()
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def look(self) -> None:
        """One round. Raises AppError where PostgreSQL does not answer."""
        versions = await self._database.run(index_versions.maintained)
        found = {version.state: await self._connected(version) for version in versions}
        kept = {_identity(version) for version in versions}
        self._known = {identity: one for identity, one in self._known.items() if identity in kept}
        self.live, self.building = found.get(IndexState.LIVE), found.get(IndexState.BUILDING)

    async def ask(self) -> None:
        """Whether the building version's embedders answer."""
        building = self.building
        if building is None:
            return
        try:
            await self._probe(building)
        except AppError as error:
            self._answering = None
            self._tell(IndexState.BUILDING, error.message)
        else:
            self._answering = building
            self._told.pop(IndexState.BUILDING, None)

    async def _connected(self, version: IndexVersion) -> Connected | None:
        identity = _identity(version)
        if identity not in self._known:
            try:
                self._known[identity] = await asyncio.to_thread(self._connect, version)
            except AppError as error:
                self._tell(version.state, error.message)
        return self._known.get(identity)

    def _tell(self, state: IndexState, reason: str) -> None:
        if self._told.get(state) != reason:
            logger.warning("no work is done for the %s index version: %s", state, reason)
        self._told[state] = reason


def _identity(version: IndexVersion) -> tuple[object, ...]:
    return version.id, version.source, version.revision
