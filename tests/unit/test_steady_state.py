"""What a recommendation costs PostgreSQL once its key is known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from configs.serving import AccountArgs
from db.session import Database
from models.score_floor import ScoreFloor
from models.shop import KeyScope
from serve_app.api import create_api
from serve_app.callers import CallerCache
from serve_app.prompt_log import PromptLog
from serve_app.shown_rows import ShownRows
from tests.drawings import garment
from tests.fakes import MODEL, Tally, vector_of
from tests.shop_client import RECOMMENDATIONS, ShopClient
from tests.statements import statements
from tests.unit.conftest import FakeService

KEYS_OR_SHOPS = re.compile(r"\b(FROM|JOIN|UPDATE|INTO)\s+(api_key|shop)\b", re.IGNORECASE)


def authenticating(sent: list[str]) -> list[str]:
    """Statements about keys or shops. The log's insert names the shop that it is for."""
    return [one for one in sent if KEYS_OR_SHOPS.search(one) and not one.startswith("INSERT INTO prompt")]


@pytest.fixture
async def http(service: FakeService, postgres_url: str) -> AsyncIterator[tuple[httpx.AsyncClient, Database]]:
    """The application without its background rounds, and the only database that it uses.

    The clock of its keys stands still: the test takes less than the 4 s for which a key stays known.
    """
    database = Database(postgres_url, connections=2)
    callers = CallerCache(database, service.keys, AccountArgs(), clock=lambda: 1000.0)
    log = PromptLog(database, Tally())
    shown = ShownRows(database)
    services = replace(service.services, database=database, shown=shown, callers=callers, prompt_log=log)
    transport = httpx.ASGITransport(create_api(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client, database
    database.close()


@pytest.mark.parametrize("scope", KeyScope)
async def test_no_statement_of_a_recommendation_is_for_its_key(
    service: FakeService, shop: ShopClient, http: tuple[httpx.AsyncClient, Database], scope: KeyScope
) -> None:
    client, database = http
    service.embed(shop.shop_id, shop.add(garment(), name="red dress")["ImageID"], vector_of("red dress"))
    fields = {"name": "x", "scope": scope}
    key = shop.request("POST", "/api/keys/", json=fields).json()["key"]

    async def ask() -> None:
        answer = await client.post(
            RECOMMENDATIONS, json={"prompt": "red dress"}, headers={"Authorization": f"Bearer {key}"}
        )
        assert len(answer.json()["recommendations"]) == 1, answer.text

    with statements(database) as first:
        await ask()
    assert len(authenticating(first)) == 1
    with statements(database) as sent:
        for _ in range(20):
            await ask()
    assert authenticating(sent) == []
    assert len(sent) == 20, "one each, for the rows: prompts are logged beside the requests"
    with statements(database) as sent:
        await asyncio.gather(*(ask() for _ in range(20)))
    assert 0 < len(sent) < 10, "those that come together share them"


async def test_the_score_floor_costs_no_statement(
    service: FakeService, shop: ShopClient, http: tuple[httpx.AsyncClient, Database]
) -> None:
    client, database = http
    service.embed(shop.shop_id, shop.add(garment(), name="red dress")["ImageID"], vector_of("red dress"))
    with service.database.transaction() as session:
        session.add(ScoreFloor(shop_id=shop.shop_id, model_key=MODEL.key, floor=0.9))

    async def ask() -> None:
        answer = await client.post(RECOMMENDATIONS, json={"prompt": "tax report"}, headers=shop.headers)
        assert answer.json()["no_match"] is True, answer.text

    with statements(database) as first:
        await ask()
    assert sum("score_floor" in one for one in first) == 1, "with the key"
    with statements(database) as sent:
        for _ in range(20):
            await ask()
    assert not any("score_floor" in one for one in sent)
    assert len(sent) == 20, "one each, for the rows"
