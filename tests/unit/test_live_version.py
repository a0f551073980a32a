"""Switching the index version under requests: each is answered by one version alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request

from configs.serving import AccountArgs
from db import index_versions
from db.session import Database
from models.errors import ConfigurationError, DependencyUnavailable
from models.image import IndexState, IndexVersion
from models.score_floor import ScoreFloor
from models.search import Hit, TextEmbedding
from serve_app import live_version
from serve_app.api import create_api
from serve_app.callers import CallerCache
from serve_app.deployments.embedder import Embedder
from serve_app.handles import TextEmbedderHandle
from serve_app.live_version import LiveVersion
from serve_app.ports import Vector
from serve_app.prompt_log import PromptLog
from serve_app.routes.dependencies import get_services
from serve_app.services import Services
from tests.drawings import garment
from tests.fakes import MODEL, FakeImageEmbedder, FakeIndex, FakeTextEmbedder, Tally, vector_of
from tests.shop_client import RECOMMENDATIONS, ShopClient
from tests.unit.conftest import FakeService

PATIENCE_S = 10.0


@dataclass
class HeldEmbedder(FakeTextEmbedder):
    """Shoppers' prompts wait until they are let go."""

    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    sign: int = 1

    async def embed(self, prompt: str) -> TextEmbedding:
        found = await super().embed(prompt)
        if prompt != "ready":
            self.waiting += 1
            await self.goes_on.wait()
        return replace(found, vector=self.sign * found.vector)


@dataclass
class SignedIndex(FakeIndex):
    """Knows the vectors of one model, and fails a query with another's."""

    sign: int = 1

    async def query(self, shop_id: int, vector: Vector, k: int) -> list[Hit]:
        assert (vector == self.sign * vector_of("red dress")).all(), "a vector of another model"
        return await super().query(shop_id, self.sign * vector, k)


@dataclass
class Versions:
    """Two index versions, the first of them live."""

    database: Database
    ids: tuple[int, int]
    services: dict[int, Services]
    error: Exception | None = None

    def flip(self, version_id: int) -> None:
        with self.database.transaction() as session:
            if (former := index_versions.live(session)) is not None:
                former.state = IndexState.RETIRED
                session.flush()
            session.get_one(IndexVersion, version_id).state = IndexState.LIVE

    def connect(self, version: IndexVersion) -> Services:
        if self.error is not None:
            raise self.error
        return self.services[version.id or 0]

    def follower(self, version_id: int | None = None) -> LiveVersion:
        first = version_id or self.ids[0]
        return LiveVersion(self.services[first], first, self.connect)

    def embedder(self, version_id: int) -> HeldEmbedder:
        found = self.services[version_id].text_embedder
        assert isinstance(found, HeldEmbedder)
        return found

    def model(self, version_id: int) -> str:
        return self.services[version_id].model.label


@pytest.fixture
async def versions(service: FakeService, postgres_url: str, shop: ShopClient) -> AsyncIterator[Versions]:
    """The tables are those of all tests; only the versions and the shop are this one's."""
    database = Database(postgres_url, connections=4)
    rows = [IndexVersion(model_key=f"{n}@1", dimension=16, state=IndexState.RETIRED) for n in "ab"]
    with database.transaction() as session:
        others = index_versions.live(session)
        session.add_all(rows)
        session.flush()
        ids = (rows[0].id or 0, rows[1].id or 0)
    photo = shop.add(garment(), name="red dress")["ImageID"]
    service.embed(shop.shop_id, photo)
    callers = CallerCache(database, service.keys, AccountArgs())
    shared = replace(
        service.services, database=database, callers=callers, prompt_log=PromptLog(database, Tally())
    )
    services = {}
    for version_id, name, sign in zip(ids, "ab", (1, -1), strict=True):
        index = SignedIndex(sign=sign)
        index.put(shop.shop_id, photo, vector_of("red dress"))
        model = replace(MODEL, name=name, key=f"{name}@1")
        services[version_id] = shared.of_version(model, HeldEmbedder(sign=sign), FakeImageEmbedder(), index)
    found = Versions(database, ids, services)
    found.flip(ids[0])
    yield found
    again = Database(postgres_url, connections=1)
    with again.transaction() as session:
        for version_id in ids:
            session.delete(session.get_one(IndexVersion, version_id))
        session.flush()
        if others is not None:
            session.get_one(IndexVersion, others.id).state = IndexState.LIVE
    again.close()
    database.close()


def client_of(api: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://test")


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():  # noqa: ASYNC110 - some of it is set by no code of the test
            await asyncio.sleep(0.01)


async def ask(client: httpx.AsyncClient, shop: ShopClient) -> dict[str, Any]:
    answer = await client.post(RECOMMENDATIONS, json={"prompt": "red dress"}, headers=shop.headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_what_began_on_a_version_ends_on_it(versions: Versions, shop: ShopClient) -> None:
    (a, b), live = versions.ids, versions.follower()
    api = create_api(live.services, live)
    async with client_of(api) as client:
        for first, second in ((a, b), (b, a)):
            held, free = versions.embedder(first), versions.embedder(second)
            held.goes_on.clear()
            free.goes_on.set()
            held.waiting = 0
            before = [asyncio.create_task(ask(client, shop)) for _ in range(5)]
            await until(lambda held=held: held.waiting == 5)  # type: ignore[misc]
            versions.flip(second)
            await live.look()
            api.state.services = live.services
            assert {(await ask(client, shop))["model"] for _ in range(3)} == {versions.model(second)}
            held.goes_on.set()
            answers = await asyncio.gather(*before)
            assert {one["model"] for one in answers} == {versions.model(first)}
            assert all(len(one["recommendations"]) == 1 for one in answers)


async def test_a_request_keeps_its_services(versions: Versions) -> None:
    first, second = versions.services.values()
    api = create_api(first)
    request, later = (Request({"type": "http", "app": api}) for _ in range(2))
    assert await get_services(request) is first
    api.state.services = second
    assert await get_services(request) is first, "a dependency that is resolved later"
    assert await get_services(later) is second


async def test_a_service_that_starts_after_a_flip_begins_with_the_live_version(
    versions: Versions, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_version, "POLL_INTERVAL_S", 0.02)
    (a, b), live = versions.ids, versions.follower()
    for one in versions.ids:
        versions.embedder(one).goes_on.set()
    versions.flip(b)
    api = create_api(live.services, live)
    async with api.router.lifespan_context(api), client_of(api) as client:
        assert (await ask(client, shop))["model"] == versions.model(b), "before anything else"
        assert (await client.get("/readyz")).json()["model"] == versions.model(b)
        versions.flip(a)
        await until(lambda: api.state.services.model.name == "a")
        assert (await ask(client, shop))["model"] == versions.model(a)


@pytest.mark.parametrize(
    "broken", ["the database", "the model's application", "its checkpoint", "its text tower", "a surprise"]
)
async def test_what_fails_leaves_the_former_version(
    versions: Versions, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(live_version, "POLL_INTERVAL_S", 0.02)
    (_, b), live = versions.ids, versions.follower()
    former = live.services
    shown: list[Services] = []
    async with live.running(shown.append):
        out = DependencyUnavailable("It does not answer.")
        with pytest.MonkeyPatch.context() as patch:
            if broken == "the database":
                patch.setattr(versions.database, "read", failing(out))
            elif broken == "its text tower":
                versions.embedder(b).error = out
            else:
                kinds = {"its checkpoint": ConfigurationError("It is gone."), "a surprise": OSError()}
                versions.error = kinds.get(broken, out)
            versions.flip(b)
            rounds = len(shown)
            await until(lambda: len(shown) > rounds + 2)
            assert all(one is former for one in shown)
        versions.error = versions.embedder(b).error = None
        await until(lambda: shown[-1].model.name == "b")


def failing(error: Exception) -> Callable[..., Any]:
    async def fail(*_: Any) -> None:
        raise error

    return fail


async def test_each_version_has_its_floor(versions: Versions, shop: ShopClient) -> None:
    (_, b), live = versions.ids, versions.follower()
    for one in versions.ids:
        versions.embedder(one).goes_on.set()
    with versions.database.transaction() as session:
        for model, floor in (("a@1", 1.5), ("b@1", 0)):
            session.add(ScoreFloor(shop_id=shop.shop_id, model_key=model, floor=floor))
        session.add(ScoreFloor(shop_id=shop.shop_id, model_key="c@1", floor=None))
    api = create_api(live.services, live)
    async with client_of(api) as client:
        assert (await ask(client, shop))["no_match"]
        versions.flip(b)
        await live.look()
        api.state.services = live.services
        assert not (await ask(client, shop))["no_match"], "by the same caller, who is remembered"


async def test_nothing_is_made_anew_while_the_version_stays(versions: Versions) -> None:
    live, versions.error = versions.follower(), AssertionError("nothing changed")
    await live.look()
    assert live.services is versions.services[versions.ids[0]]


async def test_an_embedder_that_serves_another_model_refuses() -> None:
    """While a cluster changes its model, replicas of both have one name."""
    embedder = Embedder.__new__(Embedder)
    embedder._model = MODEL
    handle = cast(
        DeploymentHandle, SimpleNamespace(embed_prompts=SimpleNamespace(remote=embedder.embed_prompts))
    )
    with pytest.raises(DependencyUnavailable, match="being changed"):
        await TextEmbedderHandle(handle, PATIENCE_S, "another@1").embed("dress")
    for asked in (
        embedder.embed_photos(np.empty((0, 1, 1, 3), np.uint8), "another@1"),
        embedder.embed_in_bulk(np.empty((0, 1, 1, 3), np.uint8), "another@1"),
    ):
        with pytest.raises(DependencyUnavailable):
            await asked
