"""Keys on the real service: they come and go, everywhere within 5 s; photos and vectors stay."""

from __future__ import annotations

import time
from typing import Any

from tests.drawings import garment
from tests.shop_client import RECOMMENDATIONS, ShopClient, assert_problem, wait_until_refused
from tests.stack import Stack

KEYS = "/api/keys/"
PAGE = "https://www.shop.example"
LIMIT_S = 5.0


def make(shop: ShopClient, **fields: Any) -> tuple[int, ShopClient]:
    answer = shop.request("POST", KEYS, json={"name": "x", "scope": "secret"} | fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], ShopClient(shop.http, shop.shop_id, answer.json()["key"])


def test_keys_end_within_5_s_and_photos_stay(stack: Stack, shop: ShopClient) -> None:
    photo = shop.add(garment("dress", "red"), wait_s=60)
    embedded_when = stack.embedded_when(shop.shop_id)
    rows = stack.execute("SELECT * FROM image WHERE shop_id = :id", id=shop.shop_id)
    ((version_id,),) = stack.execute("SELECT id FROM index_version WHERE state = 'live'")

    by_api, by_sql, expiring, rotated = (make(shop) for _ in range(4))
    for key_id, client in (by_api, by_sql, expiring, rotated):
        assert [one["ImageID"] for one in client.recommendations("a red dress")] == [photo["ImageID"]], key_id
    answer = shop.request("POST", f"{KEYS}{rotated[0]}/rotate/", json={"overlap_hours": 1 / 3600})
    successor = ShopClient(shop.http, shop.shop_id, answer.json()["key"])
    assert shop.request("DELETE", f"{KEYS}{by_api[0]}/").status_code == 204
    stack.execute("UPDATE api_key SET revoked_at = now() WHERE id = :id", id=by_sql[0])
    stack.execute("UPDATE api_key SET expires_at = now() WHERE id = :id", id=expiring[0])
    for _, client in (by_api, by_sql, expiring, rotated):
        wait_until_refused(client)

    found = successor.recommendations("a red dress")
    assert [one["ImageID"] for one in found] == [photo["ImageID"]]
    assert stack.embedded_when(shop.shop_id) == embedded_when
    assert stack.execute("SELECT * FROM image WHERE shop_id = :id", id=shop.shop_id) == rows
    assert stack.vectors().ids(version_id, shop.shop_id) == {photo["ImageID"]}
    assert successor.read(photo["ImageID"]) | {"Photo": ""} == photo | {"Photo": ""}


def test_a_suspended_shops_keys_end_within_5_s(stack: Stack, shop: ShopClient) -> None:
    assert shop.recommendations("a dress") == []
    stack.execute("UPDATE shop SET status = 'suspended' WHERE id = :id", id=shop.shop_id)
    wait_until_refused(shop)


def test_the_last_use_is_noted_in_the_background(stack: Stack, shop: ShopClient) -> None:
    assert shop.recommendations("a dress") == []
    deadline = time.monotonic() + LIMIT_S
    while (
        stack.execute(
            "SELECT 1 FROM api_key WHERE shop_id = :id AND last_used_at IS NOT NULL", id=shop.shop_id
        )
        == []
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_browsers_two_requests(shop: ShopClient) -> None:
    """Through the proxy: the preflight, then the request itself, then what a page elsewhere gets."""
    _, client = make(shop, scope="publishable", allowed_origins=[PAGE])
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    preflight = client.http.request("OPTIONS", RECOMMENDATIONS, headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "*")
    body = {"prompt": "a dress"}
    answer = client.request("POST", RECOMMENDATIONS, json=body, headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    answer = client.request("POST", RECOMMENDATIONS, json=body, headers={"Origin": "https://evil.example"})
    assert_problem(answer, 403, "origin_not_allowed")
    assert "access-control-allow-origin" not in answer.headers
