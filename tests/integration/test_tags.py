"""What the model says of uploads, on the real service: tags, terms that were left out, warnings."""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from tests.drawings import garment
from tests.photographs import encoded
from tests.shop_client import PHOTOS, ShopClient
from tests.stack import Stack

WAIT_S = 60.0


@pytest.fixture(scope="module")
def catalogue(stack: Stack) -> ShopClient:
    """One shop for all tests here: starting a worker takes longer than any of them."""
    return stack.new_shop()


@pytest.fixture(scope="module")
def categories(catalogue: ShopClient) -> dict[str, int]:
    terms = catalogue.request("GET", "/api/categories/").json()
    return {term["name"]: term["id"] for term in terms}


def smaller(photo: bytes) -> bytes:
    """The same photo as another shop system would keep it."""
    with Image.open(BytesIO(photo)) as picture:
        return encoded(picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)), "WEBP", quality=80)


def warned(shop: ShopClient) -> dict[int, list[dict[str, Any]]]:
    answer = shop.request("GET", PHOTOS, params={"warnings": "true"})
    assert answer.status_code == 200, answer.text
    return {photo["ImageID"]: photo["warnings"] for photo in answer.json()["results"]}


def test_what_the_shop_left_out_is_filled_in_and_marked(
    catalogue: ShopClient, categories: dict[str, int]
) -> None:
    left_out = catalogue.add(garment("skirt", "blue"), auto_tag="true", wait_s=WAIT_S)
    assert left_out["status"] == "embedded", left_out
    assert (left_out["category_name"], left_out["auto_tag"]) == ("Skirts", True)
    assert 0.6 <= left_out["suggestions"]["Category"]["confidence"] <= 1
    assert left_out["warnings"] == []
    image_id = left_out["ImageID"]
    found = catalogue.request("POST", "/api/tags/", json={"image_id": image_id, "top": 1}).json()
    mark = left_out["suggestions"]["Category"]["confidence"]
    assert found["Category"][0]["confidence"] == pytest.approx(mark, abs=1e-3)

    confirmed = catalogue.patch(image_id, Category=left_out["Category"]).json()
    assert "Category" not in confirmed["suggestions"]
    assert catalogue.patch(image_id, Category=None).json()["Category"] is None

    stated = catalogue.add(garment("bag", "red"), auto_tag="true", Category=categories["Bags"], wait_s=WAIT_S)
    assert (stated["category_name"], "Category" in stated["suggestions"]) == ("Bags", False)
    untouched = catalogue.add(garment("hat", "red"), wait_s=WAIT_S)
    assert (untouched["Category"], untouched["suggestions"]) == (None, {})


def test_terms_that_are_asked_for_later(catalogue: ShopClient) -> None:
    photo = catalogue.add(garment("boots", "brown"), wait_s=WAIT_S)
    other = catalogue.add(garment("dress", "navy"), wait_s=WAIT_S)
    image_id, embedded_at = other["ImageID"], other["embedded_at"]
    catalogue.patch(image_id, Category=None)
    answer = catalogue.patch(image_id, auto_tag=True).json()
    assert answer["status"] == "embedded"
    deadline = time.monotonic() + WAIT_S
    while not (found := catalogue.read(image_id))["suggestions"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (found["category_name"], found["embedded_at"]) == ("Dresses", embedded_at)
    assert catalogue.read(photo["ImageID"])["suggestions"] == {}, "it was not asked for"


def test_the_index_has_what_was_filled_in(stack: Stack, catalogue: ShopClient) -> None:
    photo = catalogue.add(garment("shorts", "green"), auto_tag="true", wait_s=WAIT_S)
    assert photo["category_name"] == "Shorts"
    version = stack.execute("SELECT id FROM index_version WHERE state = 'live'")[0][0]
    kept = stack.vectors().metadata(version, catalogue.shop_id)[photo["ImageID"]]
    assert kept["category"] == photo["Category"]
    (behind,) = stack.execute(
        "SELECT metadata_revision - indexed_revision FROM image WHERE id = :id", id=photo["ImageID"]
    )
    assert behind == (0,)


def test_the_same_photo_under_another_sku(catalogue: ShopClient) -> None:
    photo = garment("coat", "purple", "checked")
    first = catalogue.add(photo, sku="COAT-1", wait_s=WAIT_S)
    assert first["warnings"] == []
    copy = catalogue.add(smaller(photo), sku="COAT-2", wait_s=WAIT_S)
    (warning,) = copy["warnings"]
    assert (warning["code"], warning["ImageID"], warning["sku"]) == (
        "near_duplicate",
        first["ImageID"],
        "COAT-1",
    )
    assert warning["score"] >= 0.98
    assert "'COAT-1'" in warning["detail"]
    assert warned(catalogue)[copy["ImageID"]] == copy["warnings"]

    catalogue.patch(first["ImageID"], product_id="COAT")
    assert copy["ImageID"] in warned(catalogue)
    catalogue.patch(copy["ImageID"], product_id="COAT")
    assert copy["ImageID"] not in warned(catalogue), "photos of one product may look the same"
    catalogue.patch(copy["ImageID"], product_id=None)
    assert copy["ImageID"] in warned(catalogue)
    catalogue.delete(first["ImageID"])
    assert copy["ImageID"] not in warned(catalogue), "a warning never points at nothing"
    assert catalogue.read(copy["ImageID"])["warnings"] == []


def test_a_category_that_the_photo_contradicts(catalogue: ShopClient, categories: dict[str, int]) -> None:
    right = catalogue.add(garment("dress", "green"), Category=categories["Dresses"], wait_s=WAIT_S)
    assert right["warnings"] == []
    swapped = catalogue.add(garment("dress", "pink"), Category=categories["Bags"], wait_s=WAIT_S)
    assert swapped["category_name"] == "Bags", "a warning, never a change"
    (warning,) = swapped["warnings"]
    assert (warning["code"], warning["Category"]) == ("category_contradicted", categories["Bags"])
    assert warning["suggested"]["name"] == "Dresses"
    assert warning["confidence"] < 0.05 < 0.5 <= warning["suggested"]["confidence"]
    assert "'Bags'" in warning["detail"]
    assert swapped["ImageID"] in warned(catalogue)
    corrected = catalogue.patch(swapped["ImageID"], Category=categories["Dresses"]).json()
    assert corrected["warnings"] == []
    assert swapped["ImageID"] not in warned(catalogue)
