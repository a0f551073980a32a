"""Similar items: what is most like one photo of the shop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.drawings import garment
from tests.fakes import vector_of
from tests.shop_client import PHOTOS, ShopClient, assert_problem
from tests.unit.conftest import FakeService

LOOKS = {
    "red dress": "R",
    "red dress again": "R",
    "red dress long": "R",
    "red coat": "C",
    "red coat long": "C",
    "blue hat": None,
}
PAGE = "https://shop.example"


@pytest.fixture
def stock(service: FakeService, shop: ShopClient) -> dict[str, int]:
    """The ids of photos whose vectors are those of their names, of products by letter."""
    ids = {}
    for at, (name, product) in enumerate(LOOKS.items()):
        ids[name] = shop.add(garment(seed=at), name=name, product_id=product or "")["ImageID"]
        service.embed(shop.shop_id, ids[name], vector_of(name))
    return ids


def get(shop: ShopClient, image_id: int, **options: Any) -> Any:
    return shop.request("GET", f"{PHOTOS}{image_id}/similar/", params=options)


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["recommendations"]]


def test_the_most_similar_come_first_without_the_photo_itself(
    shop: ShopClient, stock: dict[str, int]
) -> None:
    query = vector_of("red dress")
    others = sorted((set(LOOKS) - {"red dress"}), key=lambda name: -float(vector_of(name) @ query))
    answer = get(shop, stock["red dress"], number_of_images=100)
    assert names(answer) == others
    first = answer.json()["recommendations"][0]
    score = float(vector_of(others[0]) @ query)
    assert (first["rank"], first["score"]) == (1, pytest.approx(score, abs=2e-6))
    assert names(get(shop, stock["red dress"], number_of_images=2, offset=1)) == others[1:3]
    assert names(get(shop, stock["red dress"], min_score=score - 1e-5)) == others[:1]
    assert len(names(get(shop, stock["red dress"]))) == 5
    assert answer.json()["model"].startswith("fake@")


def test_grouped_by_product_its_own_product_is_left_out(shop: ShopClient, stock: dict[str, int]) -> None:
    grouped = get(shop, stock["red dress"], group_by="product_id", group_size=2)
    found = grouped.json()["recommendations"]
    assert {one["product_id"] for one in found} == {"C", None}
    assert {one["product_id"]: len(one["variants"]) for one in found} == {"C": 1, None: 0}
    alone = get(shop, stock["blue hat"], group_by="product_id")
    assert [one["product_id"] for one in alone.json()["recommendations"]] in (["R", "C"], ["C", "R"])


def test_it_is_a_request_but_no_prompt(service: FakeService, shop: ShopClient, stock: dict[str, int]) -> None:
    answer = get(shop, stock["red coat"])
    assert "key" in answer.headers["ratelimit"]
    assert "prompts" not in answer.headers["ratelimit"]
    service.flush_prompts()
    assert shop.request("GET", "/api/prompts/").json()["results"] == []


def test_a_product_page_asks_with_a_publishable_key(shop: ShopClient, stock: dict[str, int]) -> None:
    body = {"name": "Page", "scope": "publishable", "allowed_origins": [PAGE], "max_images": 3}
    key = shop.request("POST", "/api/keys/", json=body).json()["key"]
    page = replace(shop, key=key)
    path = f"{PHOTOS}{stock['red dress']}/similar/"
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    assert shop.http.request("OPTIONS", path, headers=asked).status_code == 204
    answer = page.request("GET", path, headers={"Origin": PAGE})
    assert len(names(answer)) == 3
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert_problem(
        get(page, stock["red dress"], number_of_images=4), 422, "invalid_input", "/number_of_images"
    )
    other = page.request("GET", path, headers={"Origin": "https://other.example"})
    assert_problem(other, 403, "origin_not_allowed")


def test_photos_that_cannot_be_compared(
    service: FakeService, shop: ShopClient, new_shop: Callable[[], ShopClient]
) -> None:
    image_id = shop.add(garment())["ImageID"]
    problem = assert_problem(get(shop, image_id), 409, "conflict", "/image_id")
    assert "pending" in problem["detail"]
    service.embed(shop.shop_id, image_id)
    assert names(get(shop, image_id)) == []
    assert_problem(get(new_shop(), image_id), 404, "not_found", "/image_id")
    shop.delete(image_id)
    assert_problem(get(shop, image_id), 404, "not_found")


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"number_of_images": 101}, "/number_of_images"),
        ({"offset": -1}, "/offset"),
        ({"min_score": "nan"}, "/min_score"),
        ({"group_by": "sku"}, "/group_by"),
        ({"diversity": 2}, "/diversity"),
        ({"prompt": "red"}, "/prompt"),
    ],
)
def test_options_that_do_not_exist(shop: ShopClient, options: dict[str, Any], pointer: str) -> None:
    assert_problem(get(shop, 1, **options), 422, "invalid_input", pointer)
