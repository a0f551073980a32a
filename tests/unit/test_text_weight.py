"""A shop sets how much its names and descriptions count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from db import embeddings, item_vectors
from models.image import Image
from models.shop import Shop, ShopStatus
from tests.drawings import garment
from tests.fakes import vector_of
from tests.shop_client import RECOMMENDATIONS, ShopClient, assert_problem
from tests.unit.conftest import FakeService

MY_SHOP = "/api/shops/me/"


def read(shop: ShopClient) -> tuple[float, int]:
    found = shop.request("GET", MY_SHOP).json()
    return found["text_weight"], found["reindexing"]


def set_weight(shop: ShopClient, weight: Any) -> Any:
    return shop.request("PATCH", MY_SHOP, json={"text_weight": weight})


def test_the_weight_is_set_and_the_photos_behind_are_counted(
    service: FakeService, shop: ShopClient, new_shop: Callable[[], ShopClient]
) -> None:
    other = new_shop()
    for owner in (shop, shop, shop, other):
        service.embed(owner.shop_id, owner.add(garment())["ImageID"])
    shop.add(garment())  # not embedded: it is to have the weight from the start
    assert read(shop) == (0.0, 0)
    answer = set_weight(shop, 0.25)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["text_weight"], answer.json()["reindexing"]) == (0.25, 3)
    with service.database.transaction() as session:
        own = update(Image).where(col(Image.shop_id) == shop.shop_id)
        session.execute(own.where(col(Image.id) == shop.all_photos()[1]["ImageID"]).values(item_weight=0.25))
    assert read(shop) == (0.25, 2)
    assert read(other) == (0.0, 0)
    assert set_weight(shop, 0).json()["reindexing"] == 1


def test_the_same_weight_again_changes_nothing(service: FakeService, shop: ShopClient) -> None:
    assert set_weight(shop, 0).status_code == 200
    with service.database.transaction() as session:
        assert not session.get_one(Shop, shop.shop_id).reindexing


@pytest.mark.parametrize("weight", ["-0.1", "1.1", '"0.2"', "true", "null", "[]", "1e400"])
def test_a_weight_is_a_number_from_0_to_1(shop: ShopClient, weight: str) -> None:
    body, json_type = f'{{"text_weight": {weight}}}', {"Content-Type": "application/json"}
    answer = shop.request("PATCH", MY_SHOP, content=body, headers=json_type)
    assert_problem(answer, 422, "invalid_input", "/text_weight")
    assert read(shop) == (0.0, 0)


def test_a_change_names_the_weight_and_nothing_else(shop: ShopClient) -> None:
    assert_problem(shop.request("PATCH", MY_SHOP, json={}), 422, "invalid_input", "/text_weight")
    changes = {"text_weight": 0.5, "max_photos": 10**6}
    assert_problem(shop.request("PATCH", MY_SHOP, json=changes), 422, "invalid_input", "/max_photos")
    assert read(shop) == (0.0, 0)


def test_a_shop_that_is_being_deleted_keeps_its_weight(service: FakeService, shop: ShopClient) -> None:
    """Its key is known in memory; the shop's row decides."""
    read(shop)
    with service.database.transaction() as session:
        session.get_one(Shop, shop.shop_id).status = ShopStatus.DELETING
    assert_problem(set_weight(shop, 0.5), 401, "not_authenticated")


def test_photos_with_the_same_words_do_not_look_the_same(service: FakeService, shop: ShopClient) -> None:
    """With diversity, photos are folded by what they show, whatever they are found by."""
    shown = {shop.add(garment(), name="Dress")["ImageID"]: words for words in ("silk", "wool", "silk")}
    found_by = dict.fromkeys(shown, vector_of("dress"))
    for image_id, vector in found_by.items():
        service.embed(shop.shop_id, image_id, vector)
    with service.database.transaction() as session:
        rows = [(image_id, "0" * 64, vector_of(words)) for image_id, words in shown.items()]
        embeddings.save(session, service.services.model.key, rows)
        item_vectors.save_items(session, service.services.model.key, found_by)
    body = {"prompt": "dress", "number_of_images": 5, "diversity": 0.5}
    answer = shop.request("POST", RECOMMENDATIONS, json=body)
    assert answer.status_code == 200, answer.text
    silk, wool, same_silk = shown
    found = {one["ImageID"]: one["near_duplicates"] for one in answer.json()["recommendations"]}
    assert found == {silk: [same_silk], wool: []}
