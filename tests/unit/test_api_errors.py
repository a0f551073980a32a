"""Whatever is sent, the answer is a problem document and nothing is stored."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from sqlmodel import col

from db import media
from models.errors import DependencyUnavailable
from models.shop import ApiKey, Shop, ShopStatus
from tests.drawings import garment
from tests.shop_client import (
    PHOTOS,
    RECOMMENDATIONS,
    ShopClient,
    assert_nothing_leaks,
    assert_problem,
    base64_text,
)
from tests.unit.conftest import FakeService

PHOTO = base64_text(garment())
fuzz = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
text = st.text(st.characters(codec=None), max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
PHOTO_FIELDS = (
    "name",
    "description",
    "Category",
    "Styles",
    "AgeGroup",
    "sku",
    "product_id",
    "attributes",
    "product_url",
)
QUERY_FIELDS = ("queries", "Photo", "image_id", "negative_prompt", "filters", "facets", "offset", "diversity")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": " \t"}, "/name"),
        ({"name": "x" * 251}, "/name"),
        ({"name": None}, "/name"),
        ({"name": 7}, "/name"),
        ({"description": "x" * 5001}, "/description"),
        ({"Category": "Dresses"}, "/Category"),
        ({"Category": 1.5}, "/Category"),
        ({"Styles": 0}, "/Styles"),
        ({"AgeGroup": -1}, "/AgeGroup"),
        ({"AgeGroup": 2**31}, "/AgeGroup"),
        ({"sku": "x" * 251}, "/sku"),
        ({"product_url": "javascript:alert(1)"}, "/product_url"),
        ({"attributes": [1]}, "/attributes"),
        ({"attributes": "{"}, "/attributes"),
        ({"attributes": "[" * 25_000}, "/attributes"),
        ({"attributes": {"a": "x" * 17_000}}, ""),
        ({"name": "a\x00b"}, ""),
        ({"attributes": {"a\x00": 1}}, ""),
        ({"colour": "red"}, "/colour"),
        ({"Photo": "not base64!"}, "/Photo"),
        ({"Photo": 5}, "/Photo"),
    ],
)
def test_a_field_that_cannot_be_stored(
    service: FakeService, shop: ShopClient, changes: dict[str, Any], pointer: str
) -> None:
    answer = shop.request("POST", PHOTOS, json={"name": "Dress", "Photo": PHOTO} | changes)
    assert_problem(answer, 422, answer.json()["code"], pointer)
    assert service.stored(shop.shop_id) == ([], {})
    image_id = shop.add(garment(), sku="A")["ImageID"]
    before = service.stored(shop.shop_id)
    patched = shop.patch(image_id, **changes)
    assert patched.status_code == 422, patched.text
    assert service.stored(shop.shop_id) == before


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"Category": 99}, "/Category"),
        ({"Styles": 99}, "/Styles"),
        ({"Category": 1, "AgeGroup": 99}, "/AgeGroup"),
    ],
)
def test_an_unknown_term_is_named(
    service: FakeService, shop: ShopClient, fields: dict[str, int], pointer: str
) -> None:
    problem = assert_problem(shop.upload(garment(), name="x", **fields), 422, "unknown_reference", pointer)
    assert "GET /api/" in problem["detail"]
    image_id = shop.add(garment())["ImageID"]
    before = service.stored(shop.shop_id)
    assert_problem(shop.patch(image_id, **fields), 422, "unknown_reference", pointer)
    assert service.stored(shop.shop_id) == before


def test_a_field_sent_twice_is_refused(service: FakeService, shop: ShopClient) -> None:
    answer = shop.request("POST", PHOTOS, data={"name": ["a", "b"], "Photo": PHOTO})
    assert_problem(answer, 422, "invalid_input", "/name")
    assert service.stored(shop.shop_id) == ([], {})


@pytest.mark.parametrize("path", [PHOTOS, RECOMMENDATIONS, "/api/keys/", "/api/shops/"])
def test_json_under_the_name_of_a_form_is_told_and_not_repeated(shop: ShopClient, path: str) -> None:
    body = json.dumps({"api_key": shop.key, "name": "Red"})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = shop.http.post(path, content=body, headers=headers)
    problem = assert_problem(answer, 422, "invalid_input")
    assert "Content-Type: application/json" in problem["detail"]
    assert shop.key not in answer.text


def test_a_file_is_no_text(service: FakeService, shop: ShopClient) -> None:
    answer = shop.request("POST", PHOTOS, files={"name": ("a.txt", b"Dress"), "Photo": ("a.jpg", garment())})
    assert_problem(answer, 422, "invalid_input", "/name")
    assert service.stored(shop.shop_id) == ([], {})


def test_a_store_that_fails_leaves_no_row(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device: /secret/path")

    monkeypatch.setattr(media, "_write_atomically", full)
    answer = shop.upload(garment(), name="Dress")
    problem = assert_problem(answer, DependencyUnavailable.status_code, DependencyUnavailable.code)
    assert "/secret/path" not in json.dumps(problem)
    assert service.stored(shop.shop_id) == ([], {})


def test_an_unexpected_error_tells_its_id_and_nothing_else(
    shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("serve_app.routes.image_collection.images.list_page", broken)
    answer = shop.request("GET", PHOTOS, headers={"X-Request-ID": "my-request-1"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["request_id"]) == ("internal_error", "my-request-1")
    assert "my-request-1" in answer.json()["detail"]
    assert "secret detail" not in answer.text


@pytest.mark.parametrize("request_id", ["a b", "x" * 65, "<script>"])
def test_a_request_id_that_could_do_harm_is_replaced(shop: ShopClient, request_id: str) -> None:
    problem = shop.request("GET", f"{PHOTOS}0/", headers={"X-Request-ID": request_id}).json()
    assert problem["request_id"] != request_id
    assert len(problem["request_id"]) == 32


@pytest.mark.parametrize("change", ["revoked", "expired", "suspended"])
def test_a_key_that_counts_no_more(service: FakeService, shop: ShopClient, change: str) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    statements = {
        "revoked": update(ApiKey).where(col(ApiKey.shop_id) == shop.shop_id).values(revoked_at=past),
        "expired": update(ApiKey).where(col(ApiKey.shop_id) == shop.shop_id).values(expires_at=past),
        "suspended": update(Shop).where(col(Shop.id) == shop.shop_id).values(status=ShopStatus.SUSPENDED),
    }
    with service.database.transaction() as session:
        session.execute(statements[change])
    assert_problem(shop.upload(garment(), name="x"), 401, "not_authenticated")
    assert_problem(shop.ask("dress"), 401, "not_authenticated")
    assert service.stored(shop.shop_id) == ([], {})


def test_a_key_that_expires_later_counts(service: FakeService, shop: ShopClient) -> None:
    future = datetime.now(UTC) + timedelta(hours=1)
    with service.database.transaction() as session:
        session.execute(update(ApiKey).where(col(ApiKey.shop_id) == shop.shop_id).values(expires_at=future))
    assert shop.all_photos() == []


def test_another_secret_with_the_right_checksum_is_refused(service: FakeService, shop: ShopClient) -> None:
    forged = service.keys.new().text
    public_id = shop.key.split("_")[1]
    body = f"sk_{public_id}_{forged[20:-8]}"
    key = f"{body}{zlib.crc32(body.encode()):08x}"
    assert service.keys.public_id(key) == public_id
    answer = service.http.request("GET", PHOTOS, headers={"X-API-Key": key})
    assert_problem(answer, 401, "not_authenticated")


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic abc", "sk_", "Bearer \u00e9", "Bearer a b c", "bearer nothing"]
)
def test_a_header_that_holds_no_key(service: FakeService, header: str) -> None:
    answer = service.http.request("GET", PHOTOS, headers={b"Authorization": header.encode()})
    assert_problem(answer, 401, "not_authenticated")


@pytest.mark.parametrize("depth", [10, 100, 240, 260, 500, 900, 3000])
@pytest.mark.parametrize("field", ["attributes", "name", "Photo", "other"])
def test_no_depth_breaks_the_upload(shop: ShopClient, depth: int, field: str) -> None:
    body = f'''{{"name": "x", "Photo": "{PHOTO}", "{field}": {{"a": {"[" * depth}1{"]" * depth}}}}}'''
    answer = shop.request("POST", PHOTOS, content=body, headers={"Content-Type": "application/json"})
    assert_handled(answer, 201)
    if answer.status_code == 201:
        assert shop.read(answer.json()["ImageID"]) == answer.json()
        assert shop.delete(answer.json()["ImageID"]).status_code == 204


@fuzz
@given(
    fields=st.dictionaries(st.sampled_from(PHOTO_FIELDS) | text, json_values, max_size=5),
    photo=st.sampled_from([PHOTO, "", None, 3]) | json_values,
)
@example(fields={"name": "\ud800"}, photo=PHOTO)
@example(fields={"name": "x", "attributes": {"\ud800": 1}}, photo=PHOTO)
@example(fields={"name": "x", "attributes": {"a": float("inf")}}, photo=PHOTO)
@example(fields={"name": "x", "attributes": {"a": float("nan")}}, photo=PHOTO)
@example(fields={"name": "x", "attributes": {"a": 10**4000}}, photo=PHOTO)
@example(fields={"name": "x", "attributes": {"a": 1e308}}, photo=PHOTO)
@example(fields={"name": "x", "Category": float("nan")}, photo=PHOTO)
@example(fields={"name": "x", "sku": "\ud800"}, photo=PHOTO)
def test_no_json_breaks_the_upload(shop: ShopClient, fields: dict[str, Any], photo: Any) -> None:
    body = json.dumps({"Photo": photo} | fields).encode()
    answer = shop.request("POST", PHOTOS, content=body, headers={"Content-Type": "application/json"})
    assert_handled(answer, 201)
    if answer.status_code == 201:
        assert shop.read(answer.json()["ImageID"]) == answer.json()


@fuzz
@given(
    fields=st.dictionaries(
        st.sampled_from(PHOTO_FIELDS) | text, text.map(lambda one: one.encode("utf-8", "ignore")), max_size=5
    ),
    with_photo=st.booleans(),
)
def test_no_form_breaks_the_upload(shop: ShopClient, fields: dict[str, bytes], with_photo: bool) -> None:
    files = {name.encode("utf-8", "ignore").decode(): (None, value) for name, value in fields.items()}
    photo = {"Photo": ("a.jpg", garment())} if with_photo else {}
    assert_handled(shop.request("POST", PHOTOS, files={"name": (None, b"x")} | files | photo), 201)


@fuzz
@given(
    body=st.dictionaries(
        st.sampled_from(["prompt", "number_of_images", "api_key", *QUERY_FIELDS]) | text,
        json_values,
        max_size=4,
    )
    | json_values
)
@example(body={"prompt": "\ud800"})
@example(body={"prompt": "x", "number_of_images": float("nan")})
@example(body={"prompt": "x", "api_key": "\ud800"})
@example(body={"queries": [{"prompt": "x", "weight": 5e-324}, {"prompt": "y", "weight": 100}]})
@example(body={"queries": [None, 1, "x", [], {"Photo": {}}]})
@example(body={"image_id": 2**31 - 1, "Photo": None})
@example(body={"Photo": "data:"})
@example(body={"Photo": "data:image/png;base64,\ud800"})
def test_no_json_breaks_a_prompt(shop: ShopClient, body: Any) -> None:
    content = json.dumps(body).encode()
    for headers in (shop.headers, {}):
        answer = shop.http.request(
            "POST", RECOMMENDATIONS, content=content, headers=headers | {"Content-Type": "application/json"}
        )
        assert_handled(answer, 200)


@fuzz
@given(
    fields=st.dictionaries(
        st.sampled_from(["prompt", "number_of_images", *QUERY_FIELDS]) | text,
        text.map(lambda one: one.encode("utf-8", "ignore"))
        | json_values.map(lambda one: json.dumps(one).encode()),
        max_size=4,
    )
)
@example(fields={"queries": b'[{"Photo": "/9j/"}]'})
@example(fields={"filters": b"[" * 29_000, "prompt": b"x"})
def test_no_form_breaks_a_prompt(shop: ShopClient, fields: dict[str, bytes]) -> None:
    files = {name.encode("utf-8", "ignore").decode(): (None, value) for name, value in fields.items()}
    assert_handled(shop.request("POST", RECOMMENDATIONS, files=files or {"a": (None, b"")}), 200)


@fuzz
@given(
    content=st.binary(max_size=200),
    kind=st.sampled_from(
        [
            *("application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", ""),
            *(
                "application/x-www-form-urlencoded",
                "application/json; charset=utf-16",
                "multipart/form-data; boundary=",
            ),
        ]
    ),
    path=st.sampled_from([PHOTOS, RECOMMENDATIONS, f"{PHOTOS}1/retry/"]),
)
@example(content=b'{"name": ' * 100_000, kind="application/json", path=PHOTOS)
@example(content=b"[" * 100_000, kind="application/json", path=RECOMMENDATIONS)
@example(content=b"--x\r\n\r\n\r\n--x--", kind="multipart/form-data; boundary=x", path=PHOTOS)
@example(content=b"a=%ff&a=%00", kind="application/x-www-form-urlencoded", path=PHOTOS)
def test_no_bytes_break_anything(shop: ShopClient, content: bytes, kind: str, path: str) -> None:
    for headers in (shop.headers, {}):
        answer = shop.http.request("POST", path, content=content, headers=headers | {"Content-Type": kind})
        assert_handled(answer, 201)


@fuzz
@given(cursor=text.map(lambda one: one.encode("utf-8", "ignore").decode()), limit=text | st.integers())
def test_no_cursor_breaks_the_list(shop: ShopClient, cursor: str, limit: Any) -> None:
    params = {"cursor": cursor, "limit": str(limit).encode("utf-8", "ignore").decode()}
    assert_handled(shop.request("GET", PHOTOS, params=params), 200)


def assert_handled(answer: Any, success: int) -> None:
    """Success, or a problem document with a client's status; never a 500, never a library's name."""
    assert answer.status_code == success or 400 <= answer.status_code < 500, answer.text
    if answer.status_code != success:
        assert_problem(answer, answer.status_code, answer.json()["code"])
    assert_nothing_leaks(answer.text)
