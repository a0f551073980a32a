"""Bad input through the real front door: its own status and code, and nothing stored."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from db.media import shop_prefix
from tests.drawings import garment
from tests.photographs import encoded
from tests.shop_client import PHOTOS, RECOMMENDATIONS, ShopClient, assert_nothing_leaks, assert_problem
from tests.stack import Stack

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
MEGABYTE = 2**20


def stored(stack: Stack, shop: ShopClient) -> tuple[list[Any], list[str]]:
    """Rows of the shop and its files."""
    rows = stack.execute("SELECT * FROM image WHERE shop_id = :id ORDER BY id", id=shop.shop_id)
    return rows, stack.files(shop_prefix(shop.shop_id))


def huge() -> bytes:
    """25.01 megapixels in a few kilobytes."""
    return encoded(Image.new("1", (5001, 5001)), "PNG")


PHOTO_MISTAKES: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty": (lambda: b"", 422, "photo_empty"),
    "no image": (lambda: b"hello, world " * 50, 415, "photo_type_unsupported"),
    "svg": (lambda: SVG, 415, "photo_type_unsupported"),
    "pdf": (lambda: b"%PDF-1.7\n" + bytes(500), 415, "photo_type_unsupported"),
    "truncated": (lambda: garment()[:-400], 422, "photo_unreadable"),
    "header only": (lambda: garment()[:40], 422, "photo_unreadable"),
    "25.01 megapixels": (huge, 413, "photo_too_large"),
    "20 MB and a byte": (
        lambda: garment() + bytes(20 * MEGABYTE + 1 - len(garment())),
        413,
        "photo_too_large",
    ),
    "40 MB": (lambda: garment() + bytes(40 * MEGABYTE), 413, "photo_too_large"),
}


@pytest.mark.parametrize("mistake", PHOTO_MISTAKES)
def test_a_photo_that_cannot_be_taken(stack: Stack, shop: ShopClient, mistake: str) -> None:
    make, status, code = PHOTO_MISTAKES[mistake]
    assert_problem(shop.upload(make(), name="Dress"), status, code)
    assert stored(stack, shop) == ([], [])


def test_the_largest_photos_are_taken(shop: ShopClient) -> None:
    twenty = garment() + bytes(20 * MEGABYTE - len(garment()))
    assert shop.upload(twenty, name="20 MB").status_code == 201
    picture = encoded(Image.new("L", (5000, 5000), 200), "PNG")
    assert shop.add(picture, name="25 megapixels", wait_s=60)["status"] == "embedded"


FIELD_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "name too long": ({"name": "x" * 251}, "/name"),
    "no name": ({}, "/name"),
    "unknown category": ({"name": "x", "Category": 9999}, "/Category"),
    "unknown style": ({"name": "x", "Styles": 9999}, "/Styles"),
    "unknown age group": ({"name": "x", "AgeGroup": 9999}, "/AgeGroup"),
    "category in words": ({"name": "x", "Category": "Dresses"}, "/Category"),
    "style with a fraction": ({"name": "x", "Styles": "1.5"}, "/Styles"),
    "unknown field": ({"name": "x", "colour": "red"}, "/colour"),
}


@pytest.mark.parametrize("mistake", FIELD_MISTAKES)
def test_a_field_that_cannot_be_taken(stack: Stack, shop: ShopClient, mistake: str) -> None:
    fields, pointer = FIELD_MISTAKES[mistake]
    code = (
        "unknown_reference" if mistake.startswith("unknown ") and "field" not in mistake else "invalid_input"
    )
    assert_problem(shop.upload(garment(), **fields), 422, code, pointer)
    assert stored(stack, shop) == ([], [])


def test_no_photo_at_all(stack: Stack, shop: ShopClient) -> None:
    assert_problem(shop.request("POST", PHOTOS, data={"name": "Dress"}), 422, "photo_missing", "/Photo")
    assert_problem(shop.request("POST", PHOTOS, json={"name": "Dress"}), 422, "photo_missing", "/Photo")
    assert stored(stack, shop) == ([], [])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"prompt": ""}, "/prompt"),
        ({"prompt": "  \n "}, "/prompt"),
        ({"prompt": "x" * 1001}, "/prompt"),
        ({"number_of_images": 5}, ""),
        ({"prompt": "dress", "number_of_images": 0}, "/number_of_images"),
        ({"prompt": "dress", "number_of_images": 101}, "/number_of_images"),
        ({"prompt": "dress", "number_of_images": "many"}, "/number_of_images"),
    ],
)
def test_a_prompt_that_cannot_be_answered(
    stack: Stack, shop: ShopClient, body: dict[str, Any], pointer: str
) -> None:
    answer = shop.request("POST", RECOMMENDATIONS, json=body)
    assert_problem(answer, 422, "invalid_input", pointer)
    assert stack.execute("SELECT count(*) FROM prompt WHERE shop_id = :id", id=shop.shop_id) == [(0,)]


def test_a_prompt_over_the_token_limit_is_answered(shop: ShopClient) -> None:
    shop.add(garment(), wait_s=60)
    body = shop.ask(" ".join(["red dress"] * 90)).json()
    assert body["prompt_truncated"] is True
    assert len(body["recommendations"]) == 1
    assert shop.ask("a red dress").json()["prompt_truncated"] is False


@pytest.mark.parametrize(
    "prompt", ["\u7ea2\u8272\u8fde\u8863\u88d9", "\U0001f457", "d\u0301" * 200, "!" * 1000, "' OR 1=1 --"]
)
def test_a_prompt_in_any_writing_is_answered(shop: ShopClient, prompt: str) -> None:
    answer = shop.ask(prompt)
    assert answer.status_code == 200, answer.text
    assert answer.json()["recommendations"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing-here/", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("PUT", PHOTOS, 405, "method_not_allowed"),
        ("GET", RECOMMENDATIONS, 405, "method_not_allowed"),
        ("GET", f"{PHOTOS}?cursor=forged", 422, "invalid_input"),
        ("GET", f"{PHOTOS}?limit=0", 422, "invalid_input"),
        ("GET", f"{PHOTOS}?limit=201", 422, "invalid_input"),
    ],
)
def test_an_address_that_is_not_served(
    shop: ShopClient, method: str, path: str, status: int, code: str
) -> None:
    assert_problem(shop.request(method, path), status, code)


def test_bytes_that_are_no_http_do_no_harm(stack: Stack, shop: ShopClient) -> None:
    parts = urlsplit(stack.url)
    for noise in (
        b"\x16\x03\x01\x02\x00" * 20,
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.sendall(noise)
            assert_nothing_leaks(connection.recv(4096).decode("latin-1"))
    assert shop.all_photos() == []


def test_a_form_that_is_cut_short(stack: Stack, shop: ShopClient) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="Photo"; filename="a.jpg"\r\n\r\n'
    for content, kind in (
        (head + garment()[:300], "multipart/form-data; boundary=x"),
        (head + garment(), "multipart/form-data"),
        (b"{" + json.dumps({"name": "x"}).encode(), "application/json"),
        (io.BytesIO(bytes(range(256))).read(), "application/json"),
        (b'{"name": "x"' * 3000, "text/plain"),
    ):
        answer = shop.request("POST", PHOTOS, content=content, headers={"Content-Type": kind})
        assert answer.status_code == 422, answer.text
        assert_problem(answer, 422, answer.json()["code"])
    assert stored(stack, shop) == ([], [])
