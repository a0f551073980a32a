"""Publishable keys in a browser: origins, CORS headers, the cap."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from db import keys
from models.shop import KeyScope
from tests.drawings import garment
from tests.shop_client import PHOTOS, RECOMMENDATIONS, ShopClient, assert_problem
from tests.unit.conftest import FakeService

PAGE = "https://www.shop.example"
OTHER = "https://evil.example"
ALLOW = "access-control-allow-origin"
Publishable = Callable[..., ShopClient]
SHOPPER_ROUTES = (
    *("/api/recommendations/", "/api/events/", "/api/categories/", "/api/styles/", "/api/age-groups/"),
    "/api/styles/1/",
)


@pytest.fixture
def publishable(service: FakeService, shop: ShopClient) -> Publishable:
    """Makes publishable keys of one shop, by default for PAGE."""

    def make(**settings: Any) -> ShopClient:
        new = service.keys.new(KeyScope.PUBLISHABLE)
        with service.database.transaction() as session:
            settings = {"allowed_origins": [PAGE]} | settings
            keys.add_key(
                session, shop.shop_id, new.public_id, new.secret_hmac, KeyScope.PUBLISHABLE, **settings
            )
        return ShopClient(shop.http, shop.shop_id, new.text)

    return make


def ask(client: ShopClient, origin: str | None, **body: Any) -> Any:
    headers = {} if origin is None else {"Origin": origin}
    return client.request("POST", RECOMMENDATIONS, json={"prompt": "a dress"} | body, headers=headers)


def cors_headers(answer: Any) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_a_page_of_the_shop_may_ask_and_read(publishable: Publishable) -> None:
    answer = ask(publishable(), PAGE)
    assert answer.status_code == 200
    assert answer.headers[ALLOW] == PAGE
    assert answer.headers["vary"] == "Origin"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"} <= set(exposed)
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/api/categories/", "/api/styles/", "/api/age-groups/"])
def test_a_page_may_read_the_vocabularies(publishable: Publishable, path: str) -> None:
    client = publishable()
    answer = client.request("GET", path, headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers[ALLOW]) == (200, PAGE)
    assert_problem(client.request("GET", path, headers={"Origin": OTHER}), 403, "origin_not_allowed")


def test_a_key_in_the_body_counts_likewise(publishable: Publishable) -> None:
    client = publishable()
    body = {"prompt": "a dress", "api_key": client.key}
    answer = client.http.request("POST", RECOMMENDATIONS, json=body, headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers[ALLOW]) == (200, PAGE)
    answer = client.http.request("POST", RECOMMENDATIONS, json=body, headers={"Origin": OTHER})
    assert_problem(answer, 403, "origin_not_allowed")


@pytest.mark.parametrize("origin", [OTHER, "null", "", "http://www.shop.example", f"{PAGE}:8443", "x y"])
def test_pages_of_others_may_not(publishable: Publishable, origin: str) -> None:
    answer = ask(publishable(), origin)
    problem = assert_problem(answer, 403, "origin_not_allowed")
    assert "allowed_origins" in problem["detail"]
    assert origin in problem["detail"]
    assert cors_headers(answer) == set()
    assert answer.headers["vary"] == "Origin"


def test_a_key_without_origins_allows_no_page(publishable: Publishable) -> None:
    client = publishable(allowed_origins=[])
    assert_problem(ask(client, PAGE), 403, "origin_not_allowed")
    assert ask(client, None).status_code == 200


def test_without_an_origin_no_page_is_told_anything(publishable: Publishable) -> None:
    answer = ask(publishable(), None)
    assert answer.status_code == 200
    assert cors_headers(answer) == set()
    assert answer.headers["vary"] == "Origin"


def test_pages_can_read_errors_too(publishable: Publishable) -> None:
    client = publishable()
    errors = (
        (ask(client, PAGE, number_of_images=0), 422),
        (ask(client, PAGE, number_of_images=21), 422),
        (ask(client, PAGE, other="x"), 422),
        (client.request("GET", PHOTOS, headers={"Origin": PAGE}), 403),
    )
    for answer, status in errors:
        assert (answer.status_code, answer.headers[ALLOW]) == (status, PAGE)


def test_pages_can_read_that_the_service_failed(
    publishable: Publishable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("serve_app.routes.recommendations.recommend", broken)
    answer = ask(publishable(), PAGE)
    assert_problem(answer, 500, "internal_error")
    assert answer.headers[ALLOW] == PAGE


def test_a_page_that_asks_too_often_can_read_when_to_come_back(publishable: Publishable) -> None:
    client = publishable(requests_per_minute=1)
    assert ask(client, PAGE).status_code == 200
    answer = ask(client, PAGE)
    assert_problem(answer, 429, "too_many_requests")
    assert answer.headers[ALLOW] == PAGE
    assert {"retry-after", "ratelimit"} <= set(answer.headers)


def test_browsers_cannot_use_a_secret_key(shop: ShopClient) -> None:
    for origin in (PAGE, OTHER):
        answer = ask(shop, origin)
        assert answer.status_code == 200
        assert cors_headers(answer) == set()
        assert cors_headers(shop.request("GET", PHOTOS, headers={"Origin": origin})) == set()


def test_a_refused_key_gets_no_cors_headers(service: FakeService) -> None:
    stranger = ShopClient(service.http, 0, service.keys.new(KeyScope.PUBLISHABLE).text)
    answer = ask(stranger, PAGE)
    assert_problem(answer, 401, "not_authenticated")
    assert cors_headers(answer) == set()


@pytest.mark.parametrize("path", [*SHOPPER_ROUTES, *(path.rstrip("/") for path in SHOPPER_ROUTES)])
def test_a_preflight_is_answered_for_everybody(service: FakeService, path: str) -> None:
    headers = {
        "Origin": OTHER,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = service.http.request("OPTIONS", path, headers=headers)
    assert (answer.status_code, answer.content, answer.headers[ALLOW]) == (204, b"", "*")
    assert set(answer.headers["access-control-allow-methods"].split(", ")) == {"GET", "POST"}
    allowed = {name.lower() for name in answer.headers["access-control-allow-headers"].split(", ")}
    assert {"authorization", "x-api-key", "content-type"} <= allowed
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", [PHOTOS, f"{PHOTOS}1/", "/api/keys/", "/api/nothing/", "/readyz"])
def test_no_preflight_opens_anything_else(service: FakeService, path: str) -> None:
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    answer = service.http.request("OPTIONS", path, headers=headers)
    assert answer.status_code in {404, 405}
    assert cors_headers(answer) == set()


def test_options_that_is_no_preflight_is_not_answered_as_one(service: FakeService) -> None:
    answer = service.http.request("OPTIONS", RECOMMENDATIONS, headers={"Origin": PAGE})
    assert answer.status_code == 405


def test_the_cap_of_a_publishable_key(publishable: Publishable, shop: ShopClient) -> None:
    for settings, cap in (({}, 20), ({"max_images": 3}, 3), ({"max_images": 100}, 100)):
        client = publishable(**settings)
        assert client.ask("a dress", cap).status_code == 200
        if cap < 100:
            problem = assert_problem(
                client.ask("a dress", cap + 1), 422, "invalid_input", "/number_of_images"
            )
            assert f"at most {cap}" in problem["detail"]
    assert shop.ask("a dress", 100).status_code == 200


def test_a_cap_below_the_default_number_lowers_it(
    service: FakeService, publishable: Publishable, shop: ShopClient
) -> None:
    for seed in range(4):
        service.embed(shop.shop_id, shop.add(garment(seed=seed), sku=uuid.uuid4().hex)["ImageID"])
    answer = ask(publishable(max_images=2), None)
    assert len(answer.json()["recommendations"]) == 2
