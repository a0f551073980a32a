"""/api/keys/: a shop's keys are made, shown, changed, rotated and revoked; its photos stay."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from sqlmodel import col

from db import keys
from models.shop import ApiKey, KeyScope
from serve_app.manage_keys import MAX_ACTIVE_KEYS
from tests.drawings import garment
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import FakeService

KEYS = "/api/keys/"
PAGE = "https://www.shop.example"


def make(shop: ShopClient, **fields: Any) -> dict[str, Any]:
    answer = shop.request("POST", KEYS, json={"name": "Website", "scope": "secret"} | fields)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def with_key(shop: ShopClient, key: str) -> ShopClient:
    return ShopClient(shop.http, shop.shop_id, key)


def listed(shop: ShopClient) -> list[dict[str, Any]]:
    answer = shop.request("GET", KEYS)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


def rotate(shop: ShopClient, key_id: int, **body: Any) -> Any:
    return shop.request("POST", f"{KEYS}{key_id}/rotate/", json=body)


def works(shop: ShopClient, key: str) -> bool:
    answer = with_key(shop, key).ask("a dress")
    assert answer.status_code in {200, 401}, answer.text
    return bool(answer.status_code == 200)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_key_is_shown_once(service: FakeService, shop: ShopClient) -> None:
    answer = shop.request("POST", KEYS, json={"name": " Back office ", "scope": "secret"})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert with_key(shop, made["key"]).all_photos() == []
    assert made["key"].startswith(made["prefix"])
    assert made["prefix"].startswith("sk_")
    shown = {name: value for name, value in made.items() if name != "key"}
    assert shown | {"last_used_at": None} == listed(shop)[0] | {"last_used_at": None}
    assert (made["name"], made["scope"], made["state"]) == ("Back office", "secret", "active")
    assert (made["max_images"], made["expires_at"], made["revoked_at"]) == (None, None, None)
    assert made["key"] not in shop.request("GET", KEYS).text
    with service.database.transaction() as session:
        row = session.get(ApiKey, made["id"])
        assert row is not None
        assert row.secret_hmac == service.keys.digest(made["key"])
        assert made["key"].encode() not in row.secret_hmac


def test_a_publishable_key_with_its_settings(shop: ShopClient) -> None:
    origins = ["HTTPS://www.Shop.example:443/", PAGE, "http://localhost:3000"]
    made = make(shop, scope="publishable", allowed_origins=origins, max_images=7, expires_in_days=0.5)
    assert made["key"].startswith("pk_")
    assert made["allowed_origins"] == [PAGE, "http://localhost:3000"]
    assert made["max_images"] == 7
    life = moment(made["expires_at"]) - moment(made["created_at"])
    assert abs(life - timedelta(hours=12)) < timedelta(seconds=5)
    assert make(shop, scope="publishable")["max_images"] == 20


def test_the_list_says_which_key_asked_and_what_state_each_is_in(
    service: FakeService, shop: ShopClient
) -> None:
    revoked, expired, other = make(shop), make(shop, expires_in_days=1), make(shop)
    assert shop.request("DELETE", f"{KEYS}{revoked['id']}/").status_code == 204
    with service.database.transaction() as session:
        query = update(ApiKey).where(col(ApiKey.id) == expired["id"])
        session.execute(query.values(expires_at=datetime.now(UTC)))
    found = {one["id"]: one for one in listed(with_key(shop, other["key"]))}
    assert list(found) == sorted(found, reverse=True)
    states = [found[one["id"]]["state"] for one in (revoked, expired, other)]
    assert states == ["revoked", "expired", "active"]
    assert [one["id"] for one in found.values() if one["current"]] == [other["id"]]
    assert found[revoked["id"]]["revoked_at"] is not None


def test_the_key_may_stand_in_the_body(shop: ShopClient) -> None:
    for field in ("api_key", "APIKey"):
        body = {field: shop.key, "name": "x", "scope": "secret"}
        answer = shop.http.request("POST", KEYS, json=body)
        assert answer.status_code == 201, answer.text
        path = f"{KEYS}{answer.json()['id']}/"
        answer = shop.http.request("PATCH", path, json={field: shop.key, "name": "y"})
        assert answer.json()["name"] == "y"
        assert shop.http.request("POST", f"{path}rotate/", json={field: shop.key}).status_code == 201


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\u0000b"}, ""),
        ({"name": None}, "/name"),
        ({"scope": "all"}, "/scope"),
        ({"scope": None}, "/scope"),
        ({"colour": "red"}, "/colour"),
        ({"allowed_origins": [PAGE]}, ""),
        ({"max_images": 5}, ""),
        ({"scope": "publishable", "allowed_origins": PAGE}, "/allowed_origins"),
        ({"scope": "publishable", "allowed_origins": ["*"]}, "/allowed_origins/0"),
        ({"scope": "publishable", "allowed_origins": [PAGE, "http://a.example"]}, "/allowed_origins/1"),
        ({"scope": "publishable", "allowed_origins": [PAGE] * 51}, "/allowed_origins"),
        ({"scope": "publishable", "max_images": 0}, "/max_images"),
        ({"scope": "publishable", "max_images": 101}, "/max_images"),
        ({"expires_in_days": 0}, "/expires_in_days"),
        ({"expires_in_days": 1e9}, "/expires_in_days"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, ""),
        ({"expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+23:59"}, "/expires_at"),
        ({"expires_at": "2028-01-01T00:00:00Z", "expires_in_days": 3}, ""),
    ],
)
def test_what_no_key_can_be(shop: ShopClient, fields: dict[str, Any], pointer: str) -> None:
    answer = shop.request("POST", KEYS, json={"name": "Website", "scope": "secret"} | fields)
    assert_problem(answer, 422, "invalid_input", pointer)
    assert len(listed(shop)) == 1


def test_settings_are_changed_and_count_at_once(shop: ShopClient) -> None:
    made = make(shop, scope="publishable", max_images=3)
    client = with_key(shop, made["key"])
    assert client.ask("a dress", 4).status_code == 422
    body = {"name": "Shop window", "allowed_origins": [f"{PAGE}/"], "max_images": 4}
    changed = shop.request("PATCH", f"{KEYS}{made['id']}/", json=body)
    assert changed.status_code == 200
    assert changed.json().items() >= (body | {"allowed_origins": [PAGE]}).items()
    assert client.ask("a dress", 4).status_code == 200
    cleared = shop.request("PATCH", f"{KEYS}{made['id']}/", json={"max_images": None}).json()
    assert cleared == changed.json() | {"max_images": 20, "last_used_at": cleared["last_used_at"]}
    assert "key" not in cleared


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"name": " "}, "/name"),
        ({"scope": "publishable"}, "/scope"),
        ({"expires_in_days": 3}, "/expires_in_days"),
        ({"allowed_origins": None}, "/allowed_origins"),
        ({"allowed_origins": [PAGE]}, "/allowed_origins"),
        ({"max_images": 3}, "/max_images"),
    ],
)
def test_what_a_secret_key_cannot_become(shop: ShopClient, body: dict[str, Any], pointer: str) -> None:
    (before,) = listed(shop)
    answer = shop.request("PATCH", f"{KEYS}{before['id']}/", json=body)
    assert_problem(answer, 422, "invalid_input", pointer)
    assert [one | {"last_used_at": None} for one in listed(shop)] == [before | {"last_used_at": None}]


def test_a_revoked_key_works_no_more_and_revoking_is_idempotent(shop: ShopClient) -> None:
    made = make(shop)
    assert works(shop, made["key"])
    assert shop.request("DELETE", f"{KEYS}{made['id']}/").status_code == 204
    assert not works(shop, made["key"])
    revoked_at = listed(shop)[0]["revoked_at"]
    assert shop.request("DELETE", f"{KEYS}{made['id']}/").status_code == 204
    assert listed(shop)[0]["revoked_at"] == revoked_at


def test_a_key_can_revoke_itself(shop: ShopClient) -> None:
    made = make(shop)
    client = with_key(shop, made["key"])
    assert client.request("DELETE", f"{KEYS}{made['id']}/").status_code == 204
    assert_problem(client.request("GET", KEYS), 401, "not_authenticated")


def test_a_rotated_key_works_on_for_the_overlap(shop: ShopClient) -> None:
    made = make(shop, name="Web", scope="publishable", allowed_origins=[PAGE], max_images=6)
    answer = rotate(shop, made["id"], overlap_hours=2)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    new = answer.json()
    same = ("name", "scope", "allowed_origins", "max_images", "expires_at")
    assert [new[field] for field in same] == [made[field] for field in same]
    assert new["key"] != made["key"]
    assert works(shop, made["key"])
    assert works(shop, new["key"])
    old = listed(shop)[1]
    assert (old["id"], old["state"], old["replaced_by"]) == (made["id"], "active", new["id"])
    left = moment(old["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=1.9) < left <= timedelta(hours=2)


def test_without_an_overlap_the_old_key_ends_at_once(shop: ShopClient) -> None:
    made = make(shop)
    assert works(shop, made["key"])
    new = rotate(shop, made["id"], overlap_hours=0).json()
    assert not works(shop, made["key"])
    assert works(shop, new["key"])
    assert listed(shop)[1]["state"] == "revoked"


def test_the_configured_overlap_is_used_and_a_body_is_not_needed(shop: ShopClient) -> None:
    made = make(shop)
    answer = shop.request("POST", f"{KEYS}{made['id']}/rotate/")
    assert answer.status_code == 201, answer.text
    left = moment(listed(shop)[1]["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23.9) < left <= timedelta(hours=24)


def test_an_overlap_never_prolongs_a_key(shop: ShopClient) -> None:
    made = make(shop, expires_in_days=0.5)
    new = rotate(shop, made["id"], overlap_hours=24).json()
    assert listed(shop)[1]["expires_at"] == made["expires_at"]
    life = moment(new["expires_at"]) - moment(new["created_at"])
    assert abs(life - timedelta(hours=12)) < timedelta(seconds=5)
    longer = rotate(shop, new["id"], expires_in_days=2).json()
    assert moment(longer["expires_at"]) - datetime.now(UTC) > timedelta(days=1.9)


def test_only_an_active_key_is_rotated_and_only_once(service: FakeService, shop: ShopClient) -> None:
    revoked, expired, rotated = make(shop), make(shop), make(shop)
    shop.request("DELETE", f"{KEYS}{revoked['id']}/")
    with service.database.transaction() as session:
        query = update(ApiKey).where(col(ApiKey.id) == expired["id"])
        session.execute(query.values(expires_at=datetime.now(UTC)))
    successor = rotate(shop, rotated["id"]).json()
    before = listed(shop)
    for key_id, reason in (
        (revoked["id"], "revoked"),
        (expired["id"], "expired"),
        (rotated["id"], f"key {successor['id']}"),
    ):
        problem = assert_problem(rotate(shop, key_id), 409, "conflict")
        assert reason in problem["detail"]
    assert [one["id"] for one in listed(shop)] == [one["id"] for one in before]


@pytest.mark.parametrize("hours", [-1, 1e6, "soon"])
def test_an_overlap_that_makes_no_sense(shop: ShopClient, hours: Any) -> None:
    made = make(shop)
    assert_problem(rotate(shop, made["id"], overlap_hours=hours), 422, "invalid_input", "/overlap_hours")
    assert len(listed(shop)) == 2


def test_the_keys_of_others_are_not_there(shop: ShopClient, new_shop: Callable[[], ShopClient]) -> None:
    stranger = new_shop()
    made = make(shop)
    attempts = (
        stranger.request("PATCH", f"{KEYS}{made['id']}/", json={"name": "Mine"}),
        rotate(stranger, made["id"]),
        stranger.request("DELETE", f"{KEYS}{made['id']}/"),
        shop.request("DELETE", f"{KEYS}2147483647/"),
    )
    for answer in attempts:
        assert_problem(answer, 404, "not_found")
    assert_problem(shop.request("DELETE", f"{KEYS}0/"), 422, "invalid_input")
    assert made["id"] not in [one["id"] for one in listed(stranger)]
    assert listed(shop)[0]["name"] == "Website"
    assert works(shop, made["key"])


def test_the_number_of_active_keys_is_limited_also_at_once(service: FakeService, shop: ShopClient) -> None:
    with service.database.transaction() as session:
        for number in range(MAX_ACTIVE_KEYS - 2):
            keys.add_key(session, shop.shop_id, f"{number:04}{uuid.uuid4().hex[:12]}", b"x", KeyScope.SECRET)
    body = {"name": "x", "scope": "secret"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: shop.request("POST", KEYS, json=body), range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    last = next(answer.json() for answer in answers if answer.status_code == 201)
    assert_problem(rotate(shop, last["id"]), 409, "conflict")
    assert listed(shop)[0]["expires_at"] is None
    new = rotate(shop, last["id"], overlap_hours=0)
    assert new.status_code == 201
    assert_problem(shop.request("POST", KEYS, json=body), 409, "conflict")
    assert shop.request("DELETE", f"{KEYS}{new.json()['id']}/").status_code == 204
    make(shop)


def test_the_shops_photos_and_vectors_stay(service: FakeService, shop: ShopClient) -> None:
    image_id = shop.add(garment(), name="red dress")["ImageID"]
    service.embed(shop.shop_id, image_id)
    before = service.stored(shop.shop_id)
    vectors = dict(service.index.shops[shop.shop_id])
    made = make(shop)
    new = rotate(shop, made["id"], overlap_hours=0).json()
    shop.request("DELETE", f"{KEYS}{new['id']}/")
    assert service.stored(shop.shop_id) == before
    assert service.index.shops[shop.shop_id] == vectors
    assert [one["ImageID"] for one in shop.recommendations("dress")] == [image_id]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("name", "scope", "allowed_origins", "max_images", "expires_at", "expires_in_days", "overlap_hours")


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    body=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4) | json_values,
    good=st.booleans(),
    path=st.sampled_from(["", "{id}/", "{id}/rotate/"]),
)
@example(body={"name": "\ud800"}, good=True, path="")
@example(body={"expires_at": 1e300}, good=True, path="")
@example(body={"expires_at": float("inf")}, good=True, path="")
@example(body={"expires_in_days": float("nan")}, good=True, path="")
@example(body={"overlap_hours": float("nan")}, good=False, path="{id}/rotate/")
def test_no_json_breaks_the_keys(shop: ShopClient, body: Any, good: bool, path: str) -> None:
    others = [one["id"] for one in listed(shop) if not one["current"]]
    key_id = others[0] if others else make(shop)["id"]
    if good and isinstance(body, dict):
        body = {"name": "x", "scope": "publishable"} | body
    method = "PATCH" if path == "{id}/" else "POST"
    headers = {"Content-Type": "application/json"}
    answer = shop.request(
        method, KEYS + path.format(id=key_id), content=json.dumps(body).encode(), headers=headers
    )
    assert answer.status_code in {200, 201, 409, 422}, answer.text
    listed(shop)
