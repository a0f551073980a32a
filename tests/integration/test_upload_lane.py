"""The lane of single uploads, with a worker that dies when the test says so, on a database of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayError
from sqlalchemy import text

from configs.serving import IndexerArgs
from db import work
from db.session import Database
from db.work import Claim
from models.image import ImageStatus
from serve_app.deployments import upload_lane
from serve_app.deployments.upload_lane import UploadLane
from tests.services import Photos

LIVE: Any = SimpleNamespace(served="live")
VERSIONS: Any = SimpleNamespace(live=LIVE, beside=None)


@dataclass
class Worker:
    """Stands for the handle of the actor."""

    is_dead: bool = False
    takes_s: float = 0.0
    embedded: list[Claim] = field(default_factory=list)

    @property
    def ready(self) -> Any:
        return SimpleNamespace(remote=self._ready)

    @property
    def embed(self) -> Any:
        return SimpleNamespace(remote=self._embed)

    async def _ready(self, _live: str) -> bool:
        self._live_or_die()
        return True

    async def _embed(self, claim: Claim, _live: str, _building: None) -> int:
        await asyncio.sleep(self.takes_s)
        self._live_or_die()
        self.embedded.append(claim)
        return len(claim.photos)

    def _live_or_die(self) -> None:
        if self.is_dead:
            raise RayError("The actor died.")


@pytest.fixture
def lane(own_database: Database) -> tuple[UploadLane, Worker]:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    worker = Worker()
    return UploadLane(IndexerArgs(retry_delay_s=0.001), own_database, VERSIONS, worker), worker


@pytest.fixture
def database(own_database: Database) -> Database:
    return own_database


def claimed(database: Database) -> Claim:
    with database.transaction() as session:
        return work.claim_singles(session, few=4, lease_s=60, max_attempts=5)


async def until_open(lane: UploadLane) -> None:
    deadline = time.monotonic() + 10
    while not lane.is_open:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def following(lane: UploadLane, check: Callable[[], Awaitable[None]]) -> None:
    follower = asyncio.create_task(lane.follow())
    try:
        await check()
    finally:
        follower.cancel()


async def test_the_lane_is_open_while_its_worker_lives(
    lane: tuple[UploadLane, Worker],
    database: Database,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a dead worker held is back at once, and the attempt counts: the photo may be to blame."""
    monkeypatch.setattr(upload_lane, "PROBE_INTERVAL_S", 0.005)
    uploads, worker = lane
    worker.is_dead = True
    (image_id,) = photos.add()

    async def check() -> None:
        await asyncio.sleep(0.05)
        assert not uploads.is_open
        worker.is_dead = False
        await until_open(uploads)
        worker.is_dead = True
        with pytest.raises(RayError):
            await uploads.embed((LIVE, claimed(database)))
        assert not uploads.is_open
        row = photos.read(image_id)
        assert (row.status, row.attempts, row.lease_token) == (ImageStatus.PENDING, 1, None)
        worker.is_dead = False
        await until_open(uploads)
        await uploads.embed((LIVE, claimed(database)))
        assert [one.image_id for claim in worker.embedded for one in claim.photos] == [image_id]

    await following(uploads, check)


@pytest.mark.parametrize(("takes_s", "rests_s"), [(0.1, 0.1), (0.4, upload_lane.LONGEST_REST_S)])
async def test_the_lane_rests_as_long_as_it_works(
    lane: tuple[UploadLane, Worker], takes_s: float, rests_s: float
) -> None:
    """However many single uploads come: bulk work keeps its share."""
    uploads, worker = lane
    worker.takes_s = takes_s
    loop = asyncio.get_running_loop()
    started = loop.time()
    await uploads.embed((LIVE, Claim("", [])))
    assert loop.time() - started >= 0.99 * (takes_s + rests_s)
