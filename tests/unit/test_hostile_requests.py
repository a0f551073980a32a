"""Requests that no client sends by mistake: each is refused with a problem, none is a 500."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import jobs
from models.job import Job, JobKind, JobStatus
from serve_app.middleware import MAX_BODY_BYTES
from tests.shop_client import ShopClient, assert_problem
from tests.unit.admin_client import new_browser
from tests.unit.conftest import FakeService

PART = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n\\ud800\r\n--x--\r\n'
FAR_OFFSETS = ("+23:59", "-23:59")
OUT_OF_RANGE = ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59")
# Deliberately not all values of all fields: each of these found something, or stands for a kind.
VALUES = [
    *(
        b'"\\ud800"',
        b'"a\\u0000b"',
        b"null",
        b"[]",
        b"{}",
        b"-1",
        b"NaN",
        b"1e400",
        b"9" * 5000,
        b'["\\ud800"]',
    ),
    *(b'"2027-01-01T00:00:00+23:59"', b'"9999-12-31T23:59:59-23:59"', b'["https://\\ud800.example"]'),
    *(b'"x@y.example\\r\\nBcc: z@z.example"', b'"' + b"a" * 5000 + b'"', b"[" * 900 + b"]" * 900),
]
FIELDS = ("name", "email", "token", "expires_at", "expires_in_days", "allowed_origins", "max_images", "scope")
FIELDS += (
    "overlap_hours",
    "prompt",
    "number_of_images",
    "labels",
    "top",
    "image_id",
    "password",
    "description",
    "\\ud800",
    "a\\u0000",
)
VALID = {
    "name": b'"x"',
    "scope": b'"publishable"',
    "email": b'"q@q.example"',
    "prompt": b'"x"',
    "token": b'"t"',
}
PATHS = ("/api/shops/", "/api/shops/activate/", "/api/keys/", "/api/recommendations/", "/api/staff/login/")
PATHS += ("/api/tags/",)


@pytest.mark.parametrize("path", PATHS)
def test_no_value_of_any_field_is_a_500(shop: ShopClient, path: str) -> None:
    for name in FIELDS:
        for value in VALUES:
            fields = b",".join(b'"%s":%s' % (k.encode(), v) for k, v in (VALID | {name: value}).items())
            headers = {"Content-Type": "application/json"}
            answer = shop.request("POST", path, content=b"{%s}" % fields, headers=headers)
            assert answer.status_code < 500, fields[:100]
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json", fields[:100]


NESTED = (
    b'"filters":{"created_after":%s}',
    b'"filters":{"Category":%s}',
    b'"filters":{"product_id":{"not_in":[%s]}}',
    b'"filters":{"attributes":{"a":{"equals":%s}}}',
    b'"filters":{"attributes":{"a":{"any":["b",%s]}}}',
    b'"filters":{"attributes":{"a":{"lt":%s}}}',
    b'"facets":[%s]',
    b'"queries":[{"prompt":%s}]',
    b'"queries":[{"prompt":"x","weight":%s}]',
    b'"diversity":%s',
)


@pytest.mark.parametrize("nested", NESTED)
def test_no_nested_value_of_a_query_is_a_500(shop: ShopClient, nested: bytes) -> None:
    also = b"" if b"queries" in nested else b'"prompt":"x",'
    also += b"" if b"facets" in nested else b'"facets":["Category"],'  # PostgreSQL is asked in any case
    for value in (*VALUES, b'"2027-01-01T00:00:00-16:00"'):
        headers = {"Content-Type": "application/json"}
        body = b"{%s%s}" % (also, nested % value)
        answer = shop.request("POST", "/api/recommendations/", content=body, headers=headers)
        assert answer.status_code in {200, 422}, body[:100]


def test_no_value_of_an_event_is_a_500(shop: ShopClient) -> None:
    prompt_id = shop.ask("a dress").json()["prompt_id"]
    valid = {"prompt_id": b'"%s"' % prompt_id.encode(), "ImageID": b"1", "event": b'"click"'}
    for name in (*valid, "position", "api_key", "\\ud800"):
        for value in VALUES:
            fields = b",".join(b'"%s":%s' % (k.encode(), v) for k, v in (valid | {name: value}).items())
            headers = {"Content-Type": "application/json"}
            answer = shop.request("POST", "/api/events/", content=b"{%s}" % fields, headers=headers)
            assert answer.status_code in {404, 422}, fields[:100]
            assert answer.headers["content-type"] == "application/problem+json", fields[:100]


@pytest.mark.parametrize("offset", FAR_OFFSETS)
def test_an_offset_that_postgresql_does_not_know(shop: ShopClient, offset: str) -> None:
    moment = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M:%S}{offset}"
    for name in ("since", "until"):
        assert shop.request("GET", "/api/prompts/", params={name: moment}).status_code == 200
    body = {"name": "x", "scope": "secret", "expires_at": moment}
    key = shop.request("POST", "/api/keys/", json=body)
    assert key.status_code == 201
    assert datetime.fromisoformat(key.json()["expires_at"]) == datetime.fromisoformat(moment)


@pytest.mark.parametrize("moment", OUT_OF_RANGE)
def test_a_time_before_the_first_or_after_the_last_year(shop: ShopClient, moment: str) -> None:
    answer = shop.request("GET", "/api/prompts/", params={"since": moment})
    assert_problem(answer, 422, "invalid_input", "/since")


@pytest.mark.parametrize("charset", ["undefined", "idna", "unicode_escape", "utf-7"])
def test_a_form_in_a_rare_charset_is_refused(service: FakeService, shop: ShopClient, charset: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    for path in ("/api/image-collection/", "/api/keys/"):
        assert_problem(
            service.http.post(path, content=PART, headers=headers | {"X-API-Key": shop.key}),
            422,
            "invalid_input",
        )
    staff = new_browser(service)
    for path in ("/login", "/category/create", f"/shop/edit/{shop.shop_id}"):
        assert staff.post(path, content=PART, headers=headers).status_code == 422


@pytest.mark.parametrize("length", ["9" * 5000, "\u00b2"])
def test_a_content_length_that_is_no_number_of_ours(service: FakeService, length: str) -> None:
    headers = {"Content-Length": length.encode("latin-1")}
    answer = service.http.post("/api/shops/", content=b"{}", headers=headers)
    assert answer.status_code in {413, 422}


@pytest.mark.parametrize("path", ["/api/shops/", "/api/keys", "/admin/login"])
def test_only_photos_may_be_large(service: FakeService, path: str) -> None:
    answer: Any = service.http.post(path, content=b" " * (MAX_BODY_BYTES + 1))
    assert_problem(answer, 413, "body_too_large")
    for taking_photos in ("/api/image-collection/", "/api/recommendations", "/api/tags"):
        answer = service.http.post(taking_photos, content=b" " * (MAX_BODY_BYTES + 1))
        assert answer.status_code != 413


@pytest.mark.parametrize("path", ["/api/image-collection/", "/api/recommendations/"])
def test_many_small_values_are_not_parsed(service: FakeService, shop: ShopClient, path: str) -> None:
    """Parsed, they would hold up every other request for seconds."""
    answer = service.http.post(path, content=b'{"a":[' + b"[]," * 200_000 + b"0]}")
    assert "too many values" in assert_problem(answer, 422, "invalid_input")["detail"]
    if path == "/api/recommendations/":
        answer = shop.request("POST", path, data={"filters": "[" + "[]," * 60_000 + "0]"})
        assert "too many values" in assert_problem(answer, 422, "invalid_input", "/filters")["detail"]


def test_a_shops_name_that_cannot_be_stored(service: FakeService, shop: ShopClient) -> None:
    answer = new_browser(service).post(f"/shop/edit/{shop.shop_id}", data={"name": "a\x00b"})
    assert answer.status_code == 400
    assert "name contains a NUL character" in answer.text


def test_a_job_that_was_given_up_has_an_end(service: FakeService, shop: ShopClient) -> None:
    with service.database.transaction() as session:
        job = jobs.add(session, JobKind.DELETE_SHOP, shop.shop_id)
        job.attempts = 3
        session.flush()
        while jobs.claim(session, JobKind.DELETE_SHOP, lease_s=1, max_attempts=3) is not None:
            pass
        found = session.get(Job, job.id, populate_existing=True)
        assert found is not None
        assert (found.status, found.finished_at is not None) == (JobStatus.FAILED, True)
        session.rollback()
