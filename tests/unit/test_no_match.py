"""Prompts that nothing in the catalogue answers: the shop's floor over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select
from sqlmodel import col

from db import score_floors
from models.prompt import Prompt
from models.score_floor import ScoreFloor
from tests.drawings import garment
from tests.fakes import MODEL, vector_of
from tests.shop_client import RECOMMENDATIONS, ShopClient
from tests.unit.conftest import FakeService

FLOOR = 0.9


def stock(service: FakeService, shop: ShopClient, *names: str) -> None:
    for seed, name in enumerate(names):
        photo = shop.add(garment(seed=seed), name=name)
        service.embed(shop.shop_id, photo["ImageID"], vector_of(name))


def set_floor(service: FakeService, shop: ShopClient, floor: float | None, model: str = MODEL.key) -> None:
    """What the Indexer does; every process learns it within 1.5 s, this one at once."""
    with service.database.transaction() as session:
        score_floors.note_change(session, model, [shop.shop_id])
        row = score_floors.find(session, shop.shop_id, model)
        assert row is not None
        row.floor, row.computed_at = floor, session.scalar(select(func.now()))
    service.callers.forget(shop.shop_id)


def ask(shop: ShopClient, prompt: str, **fields: Any) -> tuple[bool, list[str]]:
    return asked(shop, prompt=prompt, **fields)


def asked(shop: ShopClient, **fields: Any) -> tuple[bool, list[str]]:
    """``no_match`` and the photos' names."""
    answer = shop.request("POST", RECOMMENDATIONS, json=fields)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["no_match"], [one["name"] for one in body["recommendations"]]


def test_what_does_not_reach_the_floor_is_no_match(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, "red dress", "blue hat")
    no_match, names = ask(shop, "quarterly tax report")
    assert (no_match, sorted(names)) == (False, ["blue hat", "red dress"]), "no floor yet: the best there is"
    set_floor(service, shop, FLOOR)
    assert ask(shop, "quarterly tax report") == (True, [])
    assert ask(shop, "red dress") == (False, ["red dress"]), "what scores below is left out there too"
    service.flush_prompts()
    with service.database.transaction() as session:
        query = select(col(Prompt.prompt), col(Prompt.no_match)).where(col(Prompt.shop_id) == shop.shop_id)
        logged = {tuple(row) for row in session.execute(query)}
    assert logged == {("quarterly tax report", False), ("quarterly tax report", True), ("red dress", False)}


def test_min_score_takes_the_floors_place(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, "red dress")
    set_floor(service, shop, FLOOR)
    assert ask(shop, "quarterly tax report", min_score=-1) == (False, ["red dress"])
    assert ask(shop, "red", min_score=1) == (False, []), "the client's own limit is no judgement"


@pytest.mark.parametrize(
    "composed",
    [{"negative_prompt": "silk"}, {"queries": [{"prompt": "red hat"}, {"prompt": "blue shoes"}]}],
    ids=["without something", "two prompts"],
)
def test_what_is_composed_of_several_things_is_not_judged(
    service: FakeService, shop: ShopClient, composed: dict[str, Any]
) -> None:
    stock(service, shop, "red dress")
    set_floor(service, shop, FLOOR)
    alone = {} if "queries" in composed else {"prompt": "quarterly tax report"}
    assert asked(shop, **alone, **composed) == (False, ["red dress"])
    assert asked(shop, queries=[{"prompt": "quarterly tax report"}]) == (True, []), "one prompt, however sent"


def test_a_page_behind_the_last_is_a_match(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, "red dress")
    set_floor(service, shop, FLOOR)
    assert ask(shop, "red dress", offset=1) == (False, [])
    assert ask(shop, "quarterly tax report", offset=1) == (True, [])


@pytest.mark.parametrize("offset", [0, 3])
def test_an_empty_shop_has_no_match(shop: ShopClient, offset: int) -> None:
    assert ask(shop, "red dress", offset=offset) == (True, [])


def test_the_floor_of_another_model_or_shop_does_not_count(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, "red dress")
    set_floor(service, shop, FLOOR, model="another@1")
    set_floor(service, service.new_shop(), FLOOR)
    assert ask(shop, "quarterly tax report") == (False, ["red dress"])


def test_the_shop_sees_its_floor(service: FakeService, shop: ShopClient) -> None:
    def shown() -> Any:
        answer = shop.request("GET", "/api/shops/me/")
        assert answer.status_code == 200, answer.text
        return answer.json()["score_floor"]

    assert shown() is None
    with service.database.transaction() as session:
        session.add(ScoreFloor(shop_id=shop.shop_id, model_key=MODEL.key, revision=1))
    assert shown() is None, "not computed yet"
    set_floor(service, shop, FLOOR)
    found = shown()
    assert found.pop("computed_at") is not None
    assert found == {"floor": FLOOR, "model": MODEL.key}
