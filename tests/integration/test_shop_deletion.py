"""A shop is deleted: everything of it goes, nothing comes after, the report is exact, others keep theirs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from db.media import shop_prefix
from tests.drawings import garment
from tests.shop_client import ShopClient, assert_problem
from tests.stack import Stack

MY_SHOP = "/api/shops/me/"
PATIENCE_S = 60.0
LOGGED_WITHIN_S = 1.5  # by the replicas of the Ingress that do not take the deletion
TABLES = ("image", "api_key", "prompt", "event", "signup_link", "mail")


def delete_shop(shop: ShopClient) -> str:
    """Returns the address of the report."""
    answer = shop.request("DELETE", MY_SHOP)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["report"])


def wait_for_report(stack: Stack, address: str) -> dict[str, Any]:
    """The report once the deletion is done. It needs no key."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = stack.http.get(address)
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        if report["status"] == "succeeded":
            return report
        assert time.monotonic() < deadline, report
        time.sleep(0.1)


def assert_nothing_left_of(stack: Stack, shop_id: int) -> None:
    for table in TABLES:
        assert stack.execute(f"SELECT count(*) FROM {table} WHERE shop_id = :id", id=shop_id) == [(0,)], table
    assert stack.execute("SELECT 1 FROM shop WHERE id = :id", id=shop_id) == []
    query = "SELECT count(*) FROM embedding WHERE NOT EXISTS (SELECT 1 FROM image WHERE id = image_id)"
    assert stack.execute(query) == [(0,)]
    store = stack.vectors()
    for (version_id,) in stack.execute("SELECT id FROM index_version"):
        assert not store.exists(version_id, shop_id)
    assert stack.media.folders("shops").count(shop_prefix(shop_id)) == 0


def test_everything_goes_and_the_report_is_exact(stack: Stack, new_shop: Callable[[], ShopClient]) -> None:
    shop, other = new_shop(), new_shop()
    photos = [garment(seed=number) for number in range(5)]
    for photo in photos:
        shop.add(photo)
    kept = other.add(garment(seed=1), wait_s=30)
    found = shop.wait_until_embedded()
    for _ in range(2):
        shop.recommendations("a dress")
    answer = shop.ask("a dress").json()
    shown = [one["ImageID"] for one in answer["recommendations"][:2]]
    for image_id in shown:
        event = {"prompt_id": answer["prompt_id"], "ImageID": image_id, "event": "click"}
        assert shop.request("POST", "/api/events/", json=event).status_code == 201
    assert stack.http.get(found[0]["Photo"]).status_code == 200

    report = wait_for_report(stack, delete_shop(shop))
    assert report["removed"] == {
        "photos": 5,
        "files": 5,
        "bytes": sum(map(len, photos)),
        "vectors": 5,
        "collections": 1,
        "events": 2,
        "prompts": 3,
        "imports": 0,
        "keys": 1,
        "links": 0,
        "mails": 0,
        "deliveries": 0,
    }
    assert_nothing_left_of(stack, shop.shop_id)
    assert_problem(stack.http.get(found[0]["Photo"]), 404, "not_found")
    assert_problem(shop.request("DELETE", MY_SHOP), 401, "not_authenticated")
    assert other.all_photos() == [other.read(kept["ImageID"])]
    assert [one["ImageID"] for one in other.recommendations("a dress")] == [kept["ImageID"]]


def test_nothing_slips_in_beside_the_deletion(stack: Stack, shop: ShopClient) -> None:
    """Clients that upload and ask all the time, before and after; what was stored is in the report.

    A prompt is logged a moment after its answer: those under way when the shop closes are not any more.
    """
    stop, uploaded, answered = threading.Event(), [], []

    def upload() -> None:
        seed = 0
        while not stop.is_set():
            seed += 1
            uploaded.append(shop.upload(garment(seed=seed), name="A dress").status_code)

    def ask() -> None:
        while not stop.is_set():
            answered.append(shop.ask("a dress").status_code)

    clients = [threading.Thread(target=act) for act in (upload, upload, ask, ask)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + PATIENCE_S
    while (uploaded.count(201) < 4 or answered.count(200) < 4) and time.monotonic() < deadline:
        time.sleep(0.02)
    answered_before = answered.count(200)
    time.sleep(LOGGED_WITHIN_S)
    report = wait_for_report(stack, delete_shop(shop))
    stop.set()
    for client in clients:
        client.join()

    assert set(uploaded) == {201, 401}
    assert set(answered) == {200, 401}
    removed = report["removed"]
    assert removed["photos"] == uploaded.count(201)
    assert answered_before <= removed["prompts"] <= answered.count(200)
    assert removed["files"] == removed["photos"]
    assert_nothing_left_of(stack, shop.shop_id)


def test_an_export_may_last_longer_than_a_request(stack: Stack, shop: ShopClient) -> None:
    """The service cuts every request off after a while, unless the client switches that off."""
    image_id = shop.add(garment(), description="x" * 4900)["ImageID"]
    stack.execute(
        "INSERT INTO prompt"
        " (id, shop_id, prompt, number_recommended, result_ids, scores, model_key, duration_ms)"
        " SELECT gen_random_uuid(), shop_id, description, 1, '{}', '{}', 'm', 1"
        " FROM image, generate_series(1, 2000) WHERE image.id = :id",
        id=image_id,
    )
    assert json.loads(export(stack, shop, "0").splitlines()[-1])["counts"]["prompt"] == 2000
    with pytest.raises(httpx.RemoteProtocolError):
        export(stack, shop, "0.1")


def export(stack: Stack, shop: ShopClient, request_timeout_s: str) -> bytes:
    headers = shop.headers | {"X-Request-Timeout-Seconds": request_timeout_s}
    with stack.http.stream("GET", "/api/export/", headers=headers) as answer:
        assert answer.status_code == 200
        return b"".join(answer.iter_raw())
