"""A deleted photo never appears in an answer again, from the moment that DELETE returned."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from db.media import shop_prefix
from tests.drawings import garment
from tests.shop_client import ShopClient, assert_problem
from tests.stack import Stack

STOCK = 40
ROUNDS = 30
PATIENCE_S = 60.0


def wait_until_gone(stack: Stack, shop: ShopClient, left: set[int]) -> None:
    """Rows, index and files hold exactly the photos that are left."""
    ((version_id,),) = stack.execute("SELECT id FROM index_version WHERE state = 'live'")
    store = stack.vectors()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = {row[0] for row in stack.execute("SELECT id FROM image WHERE shop_id = :id", id=shop.shop_id)}
        files = {int(key.split("/")[2]) for key in stack.files(shop_prefix(shop.shop_id))}
        found = (rows, store.ids(version_id, shop.shop_id), files)
        if found == (left, left, left):
            return
        assert time.monotonic() < deadline, (found, left)
        time.sleep(0.3)


def test_no_answer_holds_a_photo_whose_delete_returned(stack: Stack, shop: ShopClient) -> None:
    """Shoppers ask while others upload and delete; only requests that began after the DELETE count."""
    for number in range(STOCK):
        shop.add(garment("dress", "red", seed=number), name="dress")
    ids = {photo["ImageID"] for photo in shop.wait_until_embedded()}
    deleted_at: dict[int, float] = {}
    asked: list[tuple[float, set[int]]] = []
    finished = threading.Event()

    def ask() -> None:
        while not finished.is_set():
            started = time.monotonic()
            asked.append((started, {one["ImageID"] for one in shop.recommendations("a red dress", 50)}))

    def replace(number: int) -> int:
        victim = victims[number]
        assert shop.delete(victim).status_code == 204
        deleted_at[victim] = time.monotonic()
        return int(shop.add(garment("dress", "red", seed=STOCK + number), name="dress")["ImageID"])

    victims = random.Random(1).sample(sorted(ids), ROUNDS)
    shoppers = [threading.Thread(target=ask) for _ in range(3)]
    for shopper in shoppers:
        shopper.start()
    with ThreadPoolExecutor(2) as merchants:
        added = set(merchants.map(replace, range(ROUNDS)))
    shop.wait_until_embedded()
    asked_before = len(asked)
    deadline = time.monotonic() + PATIENCE_S
    while len(asked) < asked_before + 10 and time.monotonic() < deadline:
        time.sleep(0.05)
    finished.set()
    for shopper in shoppers:
        shopper.join()

    for started, found in asked:
        gone = {victim for victim, moment in deleted_at.items() if moment < started}
        assert not found & gone
    assert any(set(victims) & found for _, found in asked), "nobody ever saw a photo that was deleted later"
    left = (ids | added) - set(victims)
    assert {one["ImageID"] for one in shop.recommendations("a red dress", 100)} == left
    wait_until_gone(stack, shop, left)


def test_a_photo_deleted_before_it_is_embedded_leaves_nothing(stack: Stack, shop: ShopClient) -> None:
    ids = [shop.add(garment(seed=number))["ImageID"] for number in range(20)]
    with ThreadPoolExecutor(4) as merchants:
        assert {answer.status_code for answer in merchants.map(shop.delete, ids)} == {204}
    for image_id in ids:
        assert_problem(shop.get(image_id), 404, "not_found")
    assert shop.recommendations("anything", 100) == []
    wait_until_gone(stack, shop, set())


def test_of_two_deletes_of_one_photo_one_succeeds(shop: ShopClient) -> None:
    image_id = shop.add(garment())["ImageID"]
    with ThreadPoolExecutor(4) as merchants:
        answers = list(merchants.map(shop.delete, [image_id] * 4))
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]


def test_a_sku_is_free_again_at_once(stack: Stack, shop: ShopClient) -> None:
    first = shop.add(garment(seed=1), sku="A", wait_s=30)
    assert_problem(shop.upload(garment(seed=2), name="Dress", sku="A"), 409, "conflict", "/sku")
    assert shop.delete(first["ImageID"]).status_code == 204
    second = shop.add(garment(seed=2), sku="A", wait_s=30)
    assert [one["ImageID"] for one in shop.recommendations("a dress")] == [second["ImageID"]]
    wait_until_gone(stack, shop, {second["ImageID"]})
