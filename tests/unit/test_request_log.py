"""One line and one count of each request, and neither tells more than it may."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from models.errors import DependencyUnavailable
from serve_app.measures import RequestCounts
from serve_app.request_log import RequestLog
from serve_app.request_note import CURRENT, RequestNote
from tests.shop_client import RECOMMENDATIONS, ShopClient
from tests.unit.conftest import FakeService


class Kept(logging.Handler):
    """Records, with the note of the request that they were written for."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.notes: list[RequestNote | None] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.notes.append(CURRENT.get())


@contextmanager
def kept(name: str, level: int) -> Iterator[Kept]:
    logger, handler = logging.getLogger(name), Kept()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


@pytest.fixture
def lines(service: FakeService) -> Iterator[list[logging.LogRecord]]:
    service.services.requests.taken()
    with kept("serve_app.requests", logging.INFO) as handler:
        yield handler.records


def counted(service: FakeService) -> Counter[tuple[str, str, str]]:
    found = (one for one in service.services.requests.taken() if one.amount)
    return Counter(
        {(one.labels["method"], one.labels["route"], one.labels["status"]): int(one.amount) for one in found}
    )


def ask(shop: ShopClient, prompt: str, request_id: str) -> Any:
    headers = {"X-Request-ID": request_id}
    return shop.request("POST", RECOMMENDATIONS, json={"prompt": prompt}, headers=headers)


def test_a_line_says_who_asked_what(
    lines: list[logging.LogRecord], service: FakeService, shop: ShopClient
) -> None:
    answer = ask(shop, "a secret wish", "request-7")
    assert answer.status_code == 200
    (line,) = (vars(record) for record in lines)
    assert {name: line[name] for name in ("request_id", "shop_id", "method", "route", "status")} == {
        "request_id": "request-7",
        "shop_id": shop.shop_id,
        "method": "POST",
        "route": RECOMMENDATIONS,
        "status": 200,
    }
    assert isinstance(line["key_id"], int)
    assert 0 < line["ms"] < 60_000
    assert "wish" not in str(line)
    assert shop.key not in str(line)
    assert counted(service) == {("POST", RECOMMENDATIONS, "200"): 1}


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/api/image-collection/987654/", "/api/image-collection/{image_id}/", 404),
        ("GET", "/api/image-collection/987654", "/api/image-collection/{image_id}/", 404),
        ("GET", "/canary-path/", "other", 404),
        ("GET", "/admin/canary-path", "/admin", 303),
        ("CANARY", "/api/recommendations/", None, 405),
        ("GET", "/healthz", "/healthz", 200),
        ("GET", "/docs", "other", 200),
    ],
)
def test_paths_become_templates(
    lines: list[logging.LogRecord],
    service: FakeService,
    shop: ShopClient,
    method: str,
    path: str,
    route: str | None,
    status: int,
) -> None:
    answer = service.http.request(method, path, headers={"X-API-Key": shop.key}, follow_redirects=False)
    assert answer.status_code == status
    ((kept_method, kept_route, kept_status),) = counted(service)
    assert route in (None, kept_route)
    assert kept_method == (method if method == "GET" else "other")
    assert kept_status == str(status)
    told = "".join(str(vars(record)) for record in lines)
    assert "canary" not in f"{kept_route} {told}".lower()
    assert "987654" not in told


def test_what_is_refused_before_a_route_and_what_breaks_are_counted(
    lines: list[logging.LogRecord], service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = shop.request("POST", "/api/keys/", content=b" " * 300_000)
    assert large.status_code == 413

    async def break_down(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(service.text_embedder, "embed", break_down)
    assert shop.ask("a dress").status_code == 500
    assert [vars(record)["status"] for record in lines] == [413, 500]
    assert counted(service) == {("POST", "other", "413"): 1, ("POST", RECOMMENDATIONS, "500"): 1}


async def test_a_client_that_leaves_is_no_failure_of_ours() -> None:
    async def wait(*_: Any) -> None:
        await asyncio.sleep(60)

    requests = RequestCounts()
    log, scope = RequestLog(wait, requests), {"type": "http", "method": "GET", "path": "/readyz"}
    task = asyncio.create_task(log(scope, wait, wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [one.labels["status"] for one in requests.taken() if one.amount] == ["499"]


def test_an_error_in_the_log_knows_its_request(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.text_embedder, "error", DependencyUnavailable("The model is away."))
    with kept("serve_app", logging.ERROR) as handler:
        assert ask(shop, "a dress", "request-8").status_code == 503
    (record,), (note,) = handler.records, handler.notes
    assert "The model is away." in record.getMessage()
    assert note is not None
    assert (note.request_id, note.shop_id) == ("request-8", shop.shop_id)
