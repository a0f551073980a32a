"""Prompts: ranking, limits, the log, and what happens while the index is ahead of or behind the rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import AppError, DependencyTimeout, DependencyUnavailable, TooBusy
from models.prompt import Prompt
from tests.drawings import garment
from tests.fakes import MAX_WORDS, vector_of
from tests.shop_client import RECOMMENDATIONS, ShopClient, assert_problem
from tests.unit.conftest import FakeService


def stock(service: FakeService, shop: ShopClient, *names: str) -> list[int]:
    """Photos whose vectors are those of their names."""
    ids = [shop.add(garment(seed=number), name=name)["ImageID"] for number, name in enumerate(names)]
    for image_id, name in zip(ids, names, strict=True):
        service.embed(shop.shop_id, image_id, vector_of(name))
    return ids


def test_the_best_photo_comes_first(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, "blue hat", "red dress", "red coat")
    answer = shop.http.request(
        "POST", RECOMMENDATIONS, json={"api_key": shop.key, "prompt": "red dress", "number_of_images": 3}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() >= {"prompt_id", "model", "recommendations", "took_ms"}
    assert (body["model"], body["fallback_model"]) == (f"fake@{'1' * 12}", False)
    assert body["took_ms"] >= 0
    found = body["recommendations"]
    assert [one["name"] for one in found] == ["red dress", "red coat", "blue hat"]
    assert [one["rank"] for one in found] == [1, 2, 3]
    scores = [one["score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0, abs=1e-6)
    named = {"ImageID", "sku", "name", "description", "Category", "category_name", "Photo", "score", "rank"}
    assert found[0].keys() >= named
    assert body["prompt_truncated"] is False


def test_the_prompt_is_logged_with_what_was_shown(service: FakeService, shop: ShopClient) -> None:
    ids = stock(service, shop, "blue hat", "red dress")
    body = shop.ask("a red dress", 1).json()
    service.flush_prompts()
    with service.database.transaction() as session:
        logged = session.get(Prompt, uuid.UUID(body["prompt_id"]))
        assert logged is not None
        assert (logged.shop_id, logged.prompt, logged.number_recommended) == (shop.shop_id, "a red dress", 1)
        assert logged.result_ids == [ids[1]]
        assert logged.scores == [pytest.approx(body["recommendations"][0]["score"])]


def test_a_shop_without_photos_gets_an_empty_list(shop: ShopClient) -> None:
    assert shop.recommendations("a red dress") == []


def test_a_long_prompt_is_answered_and_says_so(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, "red dress")
    body = shop.ask("red " * (MAX_WORDS + 1)).json()
    assert body["prompt_truncated"] is True
    assert len(body["recommendations"]) == 1


def test_as_many_as_asked_for_and_no_more(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, *(f"dress {number}" for number in range(12)))
    assert [len(shop.recommendations("dress", count)) for count in (1, 5, 12, 100)] == [1, 5, 12, 12]
    default = shop.request("POST", RECOMMENDATIONS, json={"prompt": "dress"}).json()
    assert len(default["recommendations"]) == 5


def test_deleted_photos_in_the_index_cost_no_answer(service: FakeService, shop: ShopClient) -> None:
    """The index still has them all; the answer is as long as if it had only the two that are left."""
    ids = stock(service, shop, *("red dress" for _ in range(30)), "red coat", "blue coat")
    for image_id in ids[:30]:
        assert shop.delete(image_id).status_code == 204
    assert [one["ImageID"] for one in shop.recommendations("red dress", 2)] == ids[30:]


def test_photos_that_are_not_embedded_are_not_shown(service: FakeService, shop: ShopClient) -> None:
    image_id = shop.add(garment())["ImageID"]
    service.index.put(shop.shop_id, image_id, vector_of("dress"))
    assert shop.recommendations("dress") == []


@pytest.mark.parametrize("error", [TooBusy, DependencyTimeout, DependencyUnavailable])
@pytest.mark.parametrize("part", ["text_embedder", "index"])
def test_a_part_that_fails_is_a_clear_answer(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch, error: type[AppError], part: str
) -> None:
    monkeypatch.setattr(getattr(service, part), "error", error("It rests."))
    answer = shop.ask("dress")
    assert_problem(answer, error.status_code, error.code)
    assert answer.headers["retry-after"] == "1"
    assert service.http.get("/readyz").status_code == 503


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.integers(0, 2), min_size=1, max_size=8),
    asker=st.integers(0, 2),
    count=st.integers(1, 10),
)
def test_answers_hold_the_callers_photos_only(
    service: FakeService, new_shop: Callable[[], ShopClient], owners: list[int], asker: int, count: int
) -> None:
    shops = [new_shop() for _ in range(3)]
    ids: list[list[int]] = [[], [], []]
    for owner in owners:
        ids[owner] += stock(service, shops[owner], "red dress")
        # An index that mixes shops up is caught by the rows, too.
        service.index.put(shops[asker].shop_id, ids[owner][-1], vector_of("red dress"))
    found = {one["ImageID"] for one in shops[asker].recommendations("red dress", count)}
    assert found <= set(ids[asker])
    assert len(found) == min(count, len(ids[asker]))
