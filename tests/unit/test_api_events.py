"""Events: what refers to an answer of the shop is stored once, everything else is refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from models.event import Event, EventKind
from models.prompt import Prompt
from models.shop import ShopStatus
from serve_app import prompt_log
from serve_app.prompt_log import PromptLog
from tests.drawings import garment
from tests.fakes import Tally, vector_of
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import FakeService
from tests.unit.test_my_shop import set_status

EVENTS = "/api/events/"


def answered(service: FakeService, shop: ShopClient, count: int = 3) -> tuple[str, list[int]]:
    """A prompt's id and the photos that it was answered with, best first."""
    for number in range(count):
        image_id = shop.add(garment(seed=number))["ImageID"]
        service.embed(shop.shop_id, image_id, vector_of(f"red dress {'x ' * number}"))
    body = shop.ask("red dress", count).json()
    return body["prompt_id"], [one["ImageID"] for one in body["recommendations"]]


def report(shop: ShopClient, prompt_id: str, image_id: int, event: str = "click", **fields: Any) -> Any:
    return shop.request(
        "POST", EVENTS, json={"prompt_id": prompt_id, "ImageID": image_id, "event": event} | fields
    )


def stored(service: FakeService, shop: ShopClient) -> list[Event]:
    with service.database.transaction() as session:
        query = select(Event).where(col(Event.shop_id) == shop.shop_id).order_by(col(Event.id))
        return list(session.scalars(query))


def test_an_event_right_after_the_answer_is_stored_once(service: FakeService, shop: ShopClient) -> None:
    prompt_id, shown = answered(service, shop)
    first = report(shop, prompt_id, shown[1])
    assert first.status_code == 201, first.text
    body = first.json()
    wanted = {"prompt_id": prompt_id, "ImageID": shown[1], "event": "click", "position": 2}
    assert body == wanted | {"created_at": body["created_at"]}
    again = report(shop, prompt_id, shown[1], position=3)
    assert (again.status_code, again.json()) == (200, body), "a repeated report is the same event"
    for kind in ("add_to_cart", "purchase"):
        assert report(shop, prompt_id, shown[1], kind).status_code == 201
    assert report(shop, prompt_id, shown[0], position=3).json()["position"] == 3
    found = [(one.image_id, one.kind, one.position) for one in stored(service, shop)]
    assert found == [*((shown[1], kind, 2) for kind in EventKind), (shown[0], EventKind.CLICK, 3)]


def test_the_key_may_be_in_the_body(service: FakeService, shop: ShopClient) -> None:
    prompt_id, shown = answered(service, shop, 1)
    body = {"api_key": shop.key, "prompt_id": prompt_id, "ImageID": shown[0], "event": "purchase"}
    assert service.http.post(EVENTS, json=body).status_code == 201


def test_what_does_not_belong_together_is_refused(
    service: FakeService, new_shop: Callable[[], ShopClient]
) -> None:
    shop, other = new_shop(), new_shop()
    prompt_id, shown = answered(service, shop)
    _, others = answered(service, other, 1)
    refused = [
        (report(other, prompt_id, shown[0]), 404, "/prompt_id"),
        (report(shop, str(uuid.uuid4()), shown[0]), 404, "/prompt_id"),
        (report(shop, prompt_id, others[0]), 422, "/ImageID"),
        (report(shop, prompt_id, shown[0], "view"), 422, "/event"),
        (report(shop, prompt_id, shown[0], position=0), 422, "/position"),
        (report(shop, prompt_id, shown[0], position=4), 422, "/position"),
        (report(shop, prompt_id, shown[0], position="1"), 422, "/position"),
        (report(shop, "1", shown[0]), 422, "/prompt_id"),
        (report(shop, prompt_id, shown[0], kind="click"), 422, "/kind"),
    ]
    for answer, status, pointer in refused:
        assert_problem(answer, status, {404: "not_found", 422: "invalid_input"}[status], pointer)
    assert stored(service, shop) == stored(service, other) == []


def test_variants_near_duplicates_and_later_pages_have_positions(
    service: FakeService, shop: ShopClient
) -> None:
    row = Prompt(
        id=uuid.uuid4(),
        shop_id=shop.shop_id,
        prompt="red dress",
        query={"offset": 10},
        number_recommended=2,
        result_ids=[101, 102],
        also_shown={"201": 11, "202": 12},
        scores=[0.5, 0.4],
        model_key="fake",
        duration_ms=1.0,
    )
    service.services.prompt_log.add(row)
    assert report(shop, str(row.id), 102).json()["position"] == 12
    assert report(shop, str(row.id), 201).json()["position"] == 11
    assert report(shop, str(row.id), 202, position=14).json()["position"] == 14
    assert_problem(report(shop, str(row.id), 202, position=15), 422, "invalid_input", "/position")
    assert_problem(report(shop, str(row.id), 203), 422, "invalid_input", "/ImageID")
    listed = shop.request("GET", f"/api/prompts/{row.id}/").json()
    assert [one["rank"] for one in listed["results"]] == [11, 12]


def test_a_closed_shop_gets_no_events(service: FakeService, shop: ShopClient) -> None:
    prompt_id, shown = answered(service, shop, 1)
    service.flush_prompts()
    set_status(service, shop, ShopStatus.DELETING)
    assert_problem(report(shop, prompt_id, shown[0]), 401, "not_authenticated")
    assert stored(service, shop) == []


def test_events_count_as_requests(service: FakeService) -> None:
    shop = service.new_shop(requests_per_minute=3)
    for status in (404, 404, 404, 429):
        assert report(shop, str(uuid.uuid4()), 1).status_code == status


async def test_another_replicas_prompt_is_waited_for(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_log, "LOOK_AGAIN_AFTER_S", (0.0,) * 5)
    log, looks = PromptLog(service.database, Tally()), 0

    async def look() -> str | None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return "found" if looks == 4 else None

    assert await log.wait_for(1, look) == "found"
    assert looks == 4


async def test_few_wait_for_prompts_that_nobody_knows(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_log, "MAX_WAITING", 4)
    monkeypatch.setattr(prompt_log, "MAX_WAITING_OF_SHOP", 3)
    log = PromptLog(service.database, Tally())

    async def look() -> None:
        await asyncio.sleep(0)

    for _ in range(2):
        waits = [log.wait_for(shop_id, look) for shop_id in (1, 1, 1, 1, 2, 2)]
        found = await asyncio.gather(*waits, return_exceptions=True)
        refused = [type(one).__name__ if one is not None else "" for one in found]
        assert refused == ["", "", "", "TooBusy", "", "TooBusy"], "three of one shop, four of all"
