"""Rate limits over HTTP: refused requests, and the headers of all the others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from configs.serving import LimitArgs
from models.errors import DependencyUnavailable
from serve_app.api import create_api
from serve_app.local_environment import free_ports
from serve_app.rate_counters import NO_ANSWER, RedisCounters
from serve_app.rate_limits import RateLimiter
from tests.fakes import Tally
from tests.shop_client import PHOTOS, assert_problem
from tests.unit.conftest import FakeService

_POLICY = re.compile(r'"([a-z]+)";q=(\d+);w=(\d+)')
_LIMIT = re.compile(r'"([a-z]+)";r=(\d+);t=(\d+)')


def policies(answer: Any) -> dict[str, tuple[int, int]]:
    """Quota and window by name; every character of the header is accounted for."""
    return _items(_POLICY, answer.headers["ratelimit-policy"])


def limits(answer: Any) -> dict[str, tuple[int, int]]:
    """What remains, and the seconds until it is all there again, by name."""
    return _items(_LIMIT, answer.headers["ratelimit"])


def _items(pattern: re.Pattern[str], header: str) -> dict[str, tuple[int, int]]:
    items = {}
    for item in header.split(", "):
        found = pattern.fullmatch(item)
        assert found is not None, header
        items[found[1]] = (int(found[2]), int(found[3]))
    return items


def test_every_authenticated_answer_tells_its_limits(service: FakeService) -> None:
    shop = service.new_shop(requests_per_minute=50)
    answers = [
        shop.request("GET", PHOTOS),
        shop.get(999_999),
        shop.request("GET", f"{PHOTOS}?limit=0"),
        shop.upload(b"no photo", name="x"),
        shop.request("DELETE", PHOTOS + "x/"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 422, 415, 422]
    for used, answer in enumerate(answers, start=1):
        assert policies(answer) == {"key": (12_000, 60), "shop": (50, 60)}
        assert limits(answer)["shop"][0] == 50 - used
        assert limits(answer)["key"][0] == 12_000 - used
        assert all(1 <= reset_s <= 60 for _, reset_s in limits(answer).values())
    nobody = service.http.get(PHOTOS)
    assert nobody.status_code == 401
    assert "ratelimit" not in nobody.headers


def test_a_refused_request_says_when_to_come_again(service: FakeService) -> None:
    shop = service.new_shop(requests_per_minute=2)
    assert [shop.request("GET", PHOTOS).status_code for _ in range(2)] == [200, 200]
    refused = shop.upload(b"", name="not even looked at")
    problem = assert_problem(refused, 429, "too_many_requests")
    assert "limited to 2 a minute" in problem["detail"]
    wait_s = int(refused.headers["retry-after"])
    assert limits(refused) == {"key": (11_998, limits(refused)["key"][1]), "shop": (0, wait_s)}
    assert 1 <= wait_s <= 60
    service.clock.now += wait_s
    assert shop.request("GET", PHOTOS).status_code == 200


def test_only_answered_prompts_count_in_the_days_quota(service: FakeService) -> None:
    shop = service.new_shop(prompts_per_day=2)
    service.text_embedder.error = DependencyUnavailable("down")
    try:
        failed = shop.ask("a dress")
    finally:
        service.text_embedder.error = None
    assert (failed.status_code, limits(failed)["prompts"][0]) == (503, 2)
    malformed = shop.ask("")
    assert (malformed.status_code, limits(malformed)["prompts"][0]) == (422, 2)
    assert [limits(shop.ask("a dress"))["prompts"][0] for _ in range(2)] == [1, 0]
    refused = shop.ask("a dress")
    assert_problem(refused, 429, "quota_exceeded")
    assert refused.headers["retry-after"] == str(limits(refused)["prompts"][1])
    assert policies(refused)["prompts"] == (2, 86_400)
    assert shop.request("GET", PHOTOS).status_code == 200


@pytest.fixture
def unreachable() -> Iterator[RedisCounters]:
    counters = RedisCounters(f"redis://127.0.0.1:{free_ports(1)[0]}")
    yield counters
    asyncio.run(counters.close())


def test_without_redis_requests_are_served_and_counted(
    service: FakeService, unreachable: RedisCounters, caplog: pytest.LogCaptureFixture
) -> None:
    tally = Tally()
    limiter = RateLimiter(LimitArgs(key_requests_per_minute=1), tally, unreachable)
    shop = replace(
        service.new_shop(), http=TestClient(create_api(replace(service.services, limiter=limiter)))
    )
    answers = [shop.request("GET", PHOTOS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert tally.count == 3
    assert policies(answers[-1])["key"] == (1, 60)
    assert "ratelimit" not in answers[-1].headers
    ready = shop.http.request("GET", "/readyz")
    assert (ready.status_code, ready.json()["checks"]["rate_limits"]) == (200, NO_ANSWER)
    assert len([line for line in caplog.messages if line.startswith("rate limits")]) == 1


def test_strangers_are_limited_by_the_address_that_the_proxy_saw(service: FakeService) -> None:
    limiter = RateLimiter(LimitArgs(signups_per_hour=3), Tally(), clock=service.clock)
    http = TestClient(create_api(replace(service.services, limiter=limiter, trusted_proxies=1)))

    def post(path: str, forwarded_for: str, body: dict[str, str]) -> Any:
        return http.post(f"/api/shops/{path}", json=body, headers={"X-Forwarded-For": forwarded_for})

    email = {"email": "nobody@nowhere.example"}
    assert post("resend/", "198.51.100.7", email).status_code == 202
    assert post("", "6.6.6.6, 198.51.100.7", {}).status_code == 422
    assert post("activate/", "198.51.100.7", {"token": "unknown"}).status_code == 404
    refused = post("resend/", "7.7.7.7, 198.51.100.7", email)
    assert "limited to 3 an hour" in assert_problem(refused, 429, "too_many_requests")["detail"]
    assert int(refused.headers["retry-after"]) == limits(refused)["signups"][1] <= 3600
    assert post("resend/", "198.51.100.8", email).status_code == 202


def test_readyz_says_ok_where_limits_are_counted(service: FakeService) -> None:
    assert service.http.get("/readyz").json()["checks"]["rate_limits"] == "ok"
