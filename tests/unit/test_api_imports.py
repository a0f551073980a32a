"""Feeds over HTTP: taken whole or not at all, once, in bounded memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from configs.serving import ImportArgs
from db import import_requests
from db.media import MediaStore
from models.import_job import ImportRequest
from models.job import Job
from models.shop import Shop, ShopStatus
from serve_app.api import create_api
from serve_app.routes import feeds, image_imports
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import FakeService

BULK, JOBS = "/api/image-collection/bulk/", "/api/jobs/"
FEED = b"sku,name\nA,Dress\n"


def sent(shop: ShopClient, content: Any = FEED, media_type: str | None = "text/csv", **options: Any) -> Any:
    """The file itself as the body; ``options``: of the query, or headers."""
    headers = options.pop("headers", {}) | ({"Content-Type": media_type} if media_type else {})
    return shop.request("POST", BULK, content=content, params=options, headers=headers)


def form(shop: ShopClient, content: bytes = FEED, **fields: str) -> Any:
    return shop.request("POST", BULK, data=fields, files={"file": ("Shop feed.csv", content, "text/csv")})


def stored(service: FakeService, shop: ShopClient) -> list[bytes]:
    """Every file of the shop, and what is left of uploads of anybody."""
    folders = service.media_dir / "shops" / str(shop.shop_id), service.media_dir / "uploads"
    return [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]


def request_of(service: FakeService, job_id: int) -> ImportRequest:
    with service.database.transaction() as session:
        return ImportRequest.model_validate(session.get_one(Job, job_id).request)


def assert_nothing_appeared(service: FakeService, shop: ShopClient) -> None:
    assert stored(service, shop) == []
    assert shop.request("GET", JOBS).json()["results"] == []


@pytest.mark.parametrize("media_type", feeds.RAW_TYPES)
def test_a_file_as_the_body_becomes_a_job(service: FakeService, shop: ShopClient, media_type: str) -> None:
    answer = sent(shop, media_type=f"{media_type}; charset=utf-8", mode="full", confirm_removal="true")
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"{JOBS}{job['id']}/"
    assert (job["status"], job["kind"], job["size_bytes"]) == ("queued", "import", len(FEED))
    assert job["options"] == {
        **{"mode": "full", "confirm_removal": True},
        **{"on_error": "skip_rows", "format": "auto", "auto_tag": False},
    }
    request = request_of(service, job["id"])
    assert request.media_type == media_type
    assert request.sha256 == hashlib.sha256(FEED).hexdigest() == job["sha256"]
    assert request.source.startswith(f"shops/{shop.shop_id}/imports/")
    assert service.services.media.load(request.source) == FEED
    assert stored(service, shop) == [FEED]
    assert shop.request("GET", answer.headers["location"]).json() == job


def test_a_form_has_the_file_and_options_in_any_order(service: FakeService, shop: ShopClient) -> None:
    job = form(shop, mode="full", on_error="reject_all", auto_tag="true").json()
    assert (job["options"]["mode"], job["options"]["on_error"]) == ("full", "reject_all")
    assert (job["file_name"], job["options"]["auto_tag"]) == ("Shop feed.csv", True)
    request = request_of(service, job["id"])
    assert (request.media_type, request.file_name) == ("text/csv", "Shop feed.csv")
    after = parts(("file", FEED), ("mode", b"full"))
    assert sent(shop, after, "multipart/form-data; boundary=x").json()["options"]["mode"] == "full"
    mixed = parts(("file", FEED))
    job = sent(shop, mixed, "multipart/form-data; boundary=x", mode="full").json()
    assert job["options"]["mode"] == "full"


def parts(*fields: tuple[str, bytes], end: bytes = b"--x--\r\n") -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    return b"".join(head % (name.encode(), value) for name, value in fields) + end


BAD_FORMS = {
    "truncated": (parts(("file", FEED), end=b""), ""),
    "truncated in the file": (parts(("file", FEED), end=b"")[:-8], ""),
    "no file": (parts(("mode", b"full")), "/file"),
    "empty file": (parts(("file", b"")), "/file"),
    "two files": (parts(("file", FEED), ("file", FEED)), "/file"),
    "unknown field": (parts(("file", FEED), ("api_key", b"sk_x")), "/api_key"),
    "field without a name": (b"--x\r\nContent-Type: text/csv\r\n\r\n" + FEED + b"\r\n--x--\r\n", "/"),
    "field twice": (parts(("mode", b"full"), ("mode", b"full"), ("file", FEED)), "/mode"),
    "bad option": (parts(("file", FEED), ("mode", b"fully")), "/mode"),
    "bad option before the file": (parts(("on_error", b"\xff"), ("file", FEED)), "/on_error"),
    "huge field": (parts(("mode", b"f" * 100_000), ("file", FEED)), "/mode"),
    "huge header": (b"--x\r\nContent-Disposition: " + b"a" * 100_000 + b"\r\n\r\n", ""),
    "many headers": (b"--x\r\n" + b"A: b\r\n" * 1000 + b"\r\n", ""),
    "no form at all": (FEED, ""),
}


@pytest.mark.parametrize(("body", "pointer"), BAD_FORMS.values(), ids=BAD_FORMS.keys())
def test_a_form_that_is_wrong_leaves_nothing(
    service: FakeService, shop: ShopClient, body: bytes, pointer: str
) -> None:
    answer = sent(shop, body, "multipart/form-data; boundary=x")
    assert_problem(answer, 422, "invalid_input", pointer or None)
    assert_nothing_appeared(service, shop)


@pytest.mark.parametrize("boundary", ["", "y" * 5000])
def test_a_boundary_that_is_none(service: FakeService, shop: ShopClient, boundary: str) -> None:
    answer = sent(shop, parts(("file", FEED)), f"multipart/form-data; boundary={boundary}")
    assert_problem(answer, 422, "invalid_input")
    assert_nothing_appeared(service, shop)


@pytest.mark.parametrize(
    "option",
    [("mode", "all"), ("on_error", ""), ("format", "xlsx"), ("confirm_removal", "maybe"), ("moed", "full")],
    ids=str,
)
def test_an_option_that_is_wrong_is_refused_before_the_body(
    service: FakeService, shop: ShopClient, option: tuple[str, str]
) -> None:
    name, value = option
    assert_problem(sent(shop, **{name: value}), 422, "invalid_input", f"/{name}")
    assert_nothing_appeared(service, shop)


@pytest.mark.parametrize(
    "media_type", [None, "application/x-www-form-urlencoded", "image/png", "multipart/mixed; boundary=x", "?"]
)
def test_a_body_of_another_kind_is_refused(
    service: FakeService, shop: ShopClient, media_type: str | None
) -> None:
    assert_problem(sent(shop, media_type=media_type), 415, "media_type_unsupported")
    packed = sent(shop, headers={"Content-Encoding": "gzip"})
    assert_problem(packed, 415, "media_type_unsupported")
    assert_problem(sent(shop, b""), 422, "invalid_input")
    assert_nothing_appeared(service, shop)


def test_one_key_and_request_are_one_job(service: FakeService, shop: ShopClient) -> None:
    once = {"Idempotency-Key": "monday 1"}
    first = sent(shop, headers=once)
    again = sent(shop, media_type="text/plain", headers=once)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    for other in (sent(shop, FEED + b"B,Skirt\n", headers=once), sent(shop, headers=once, mode="full")):
        assert_problem(other, 409, "conflict")
    assert stored(service, shop) == [FEED]
    stranger = service.new_shop()
    assert sent(stranger, headers=once).json()["id"] != first.json()["id"]
    assert sent(shop).json()["id"] != sent(shop).json()["id"]


@pytest.mark.parametrize("key", ["", "k" * 201, "a\tb", b"\xc3\xa9"])
def test_an_idempotency_key_that_is_none(service: FakeService, shop: ShopClient, key: Any) -> None:
    answer = sent(shop, headers={"Idempotency-Key": key})
    assert_problem(answer, 422, "invalid_input", "/Idempotency-Key")
    assert_nothing_appeared(service, shop)


def test_the_same_at_once_is_one_job(service: FakeService, shop: ShopClient) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: sent(shop, headers={"Idempotency-Key": "k"}), range(6)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert stored(service, shop) == [FEED]


def test_too_many_imports_wait(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ImportRequest(source="s/f/x", size_bytes=1, sha256="0" * 64)
    once = {"headers": {"Idempotency-Key": "mine"}}
    mine = sent(shop, **once).json()["id"]
    with service.database.transaction() as session:
        for _ in range(ImportArgs().max_waiting - 1):
            import_requests.add(session, shop.shop_id, request, None)
    assert sent(shop, **once).json()["id"] == mine
    with monkeypatch.context() as patch:
        patch.setattr(image_imports, "received", None)  # the body is not even read
        assert_problem(sent(shop), 429, "too_many_requests")
        assert_problem(sent(shop, headers={"Idempotency-Key": "new"}), 429, "too_many_requests")
    assert stored(service, shop) == [FEED]
    newest = shop.request("GET", JOBS).json()["results"][0]["id"]
    assert shop.request("POST", f"{JOBS}{newest}/cancel/").status_code == 202
    assert sent(shop).status_code == 202


def test_a_closed_shop_gets_nothing(service: FakeService, shop: ShopClient) -> None:
    """Closed while the body was on its way."""
    assert shop.request("GET", JOBS).status_code == 200

    def body() -> Iterator[bytes]:
        with service.database.transaction() as session:
            session.get_one(Shop, shop.shop_id).status = ShopStatus.DELETING
        yield FEED

    assert_problem(sent(shop, body()), 401, "not_authenticated")
    assert stored(service, shop) == []


@pytest.fixture
def small(service: FakeService) -> httpx.AsyncClient:
    """The same service with a limit of 2 MB, asked by hand."""
    services = replace(service.services, imports=ImportArgs(max_bytes=2_000_000))
    api = create_api(services)
    return httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://test")


async def test_a_body_that_is_too_large_leaves_nothing(
    service: FakeService, shop: ShopClient, small: httpx.AsyncClient
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 300_000

    headers = shop.headers | {"Content-Type": "text/csv"}
    for content in (b"x" * 2_000_001, endless()):
        answer = await small.post(BULK, content=content, headers=headers)
        problem = assert_problem(answer, 413, "body_too_large")
        assert "2,000,000 bytes" in problem["detail"]
        assert "in parts" in problem["detail"]
        assert stored(service, shop) == []
    answer = await small.post(BULK, content=b"x" * 2_000_000, headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize("ending", ["disconnect", "stall", "cancel"])
async def test_a_client_that_breaks_off_leaves_nothing(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(feeds, "STALL_S", 0.05)
    statuses: list[int] = []
    chunks = iter([b"x" * feeds.PART_BYTES] * 2)

    async def receive() -> Message:
        chunk = next(chunks, None)
        if chunk is not None:
            return {"type": "http.request", "body": chunk, "more_body": True}
        assert any(len(one) >= feeds.PART_BYTES for one in stored(service, shop)), "it is not on the disk yet"
        if ending == "cancel":
            raise asyncio.CancelledError
        if ending == "stall":
            await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    headers = {"authorization": f"Bearer {shop.key}", "content-type": "text/csv", "host": "test"}
    scope = {
        **{"type": "http", "method": "POST", "path": BULK, "raw_path": BULK.encode(), "query_string": b""},
        **{"http_version": "1.1", "scheme": "http", "root_path": "", "client": ("1.2.3.4", 5)},
        **{"headers": [(name.encode(), value.encode()) for name, value in headers.items()]},
        **{"server": ("test", 80)},
    }
    api = create_api(service.services)
    if ending == "cancel":
        with pytest.raises(asyncio.CancelledError):
            await api(scope, receive, send)
    else:
        await api(scope, receive, send)
        assert statuses[0] == (408 if ending == "stall" else 422)
    assert_nothing_appeared(service, shop)


def test_a_media_store_that_fails_leaves_no_job(
    service: FakeService, shop: ShopClient, tmp_path: Path
) -> None:
    broken = tmp_path / "media"
    broken.mkdir()
    (broken / "shops").write_text("a file where a directory should be")
    other = TestClient(create_api(replace(service.services, media=MediaStore(str(broken)))))
    answer = ShopClient(other, shop.shop_id, shop.key).request("POST", BULK, files={"file": FEED})
    assert_problem(answer, 503, "dependency_unavailable")
    assert shop.request("GET", JOBS).json()["results"] == []
    assert [path.name for path in broken.rglob("*") if path.is_file()] == ["shops"]


def test_a_key_in_the_body_is_not_looked_for(service: FakeService) -> None:
    answer = service.http.post(BULK, data={"api_key": "sk_x"}, files={"file": FEED})
    assert_problem(answer, 401, "not_authenticated")


def test_the_store_gets_what_was_sent(
    service: FakeService, new_shop: Callable[[], ShopClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that look like the form's own, cut anywhere."""
    monkeypatch.setattr(feeds, "PART_BYTES", 7)
    content = b"\r\n--x\r\n--xy\r\n-\r--\n" * 40
    shop = new_shop()
    body = b'--x-y\r\nContent-Disposition: form-data; name="file"\r\n\r\n%s\r\n--x-y--\r\n' % content
    chunks = (body[start : start + 11] for start in range(0, len(body), 11))
    assert sent(shop, chunks, "multipart/form-data; boundary=x-y").status_code == 202
    assert stored(service, shop) == [content]
