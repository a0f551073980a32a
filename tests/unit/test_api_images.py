"""Upload, read, change, remove photos: what each answer holds and what is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from models.image import ImageStatus
from tests.drawings import garment
from tests.shop_client import PHOTOS, ShopClient, assert_hidden_from, assert_problem, base64_text
from tests.unit.conftest import FakeService

SEED_FIELDS = {
    *("ImageID", "Photo", "name", "description", "Category", "category_name", "Styles", "style_name"),
    *("AgeGroup", "age_group_name", "Processor_embedded", "status", "sku", "product_id", "attributes"),
}
METADATA: dict[str, Any] = {
    "name": "Marigold dress",
    "description": "Red, with flowers.",
    "Category": 1,
    "Styles": 2,
    "AgeGroup": 4,
    "sku": "DRE-001",
    "product_id": "DRE",
    "product_url": "https://shop.example/dre-001",
    "attributes": {"colour": "red", "sizes": [36, 38]},
}


def test_an_uploaded_photo_is_answered_whole(shop: ShopClient) -> None:
    answer = shop.upload(garment(), **METADATA)
    assert answer.status_code == 201
    photo = answer.json()
    assert photo.keys() >= SEED_FIELDS
    assert answer.headers["location"] == f"{PHOTOS}{photo['ImageID']}/"
    assert {name: photo[name] for name in METADATA} == METADATA
    names = (photo["category_name"], photo["style_name"], photo["age_group_name"])
    assert names == ("Dresses", "Formal", "Adults")
    assert (photo["Processor_embedded"], photo["status"], photo["embedded_at"]) == (False, "pending", None)
    assert (photo["photo_width_px"], photo["photo_height_px"]) == (112, 140)
    assert photo["photo_bytes"] == len(garment())
    assert shop.read(photo["ImageID"]) == photo


def test_json_with_base64_stores_the_same_as_a_form(service: FakeService, shop: ShopClient) -> None:
    sent = METADATA | {"Photo": base64_text(garment())}
    answer = shop.request("POST", PHOTOS, json=sent)
    assert answer.status_code == 201, answer.text
    assert {name: answer.json()[name] for name in METADATA} == METADATA
    data_uri = f"data:image/jpeg;base64,{base64_text(garment())}"
    again = shop.request("POST", PHOTOS, json={"name": "Again", "Photo": data_uri})
    assert again.status_code == 201, again.text
    rows, files = service.stored(shop.shop_id)
    assert [row["photo_sha256"] for row in rows] == [rows[0]["photo_sha256"]] * 2
    assert list(files.values()) == [garment(), garment()]


def test_what_is_left_out_gets_a_default(shop: ShopClient) -> None:
    photo = shop.add(garment(), name="  Dress ", Category="", Styles="", AgeGroup="", sku="")
    assert photo["name"] == "Dress"
    assert photo["sku"].startswith("photo-")
    empty = ("Category", "category_name", "Styles", "style_name", "AgeGroup", "age_group_name", "product_id")
    assert [photo[name] for name in empty] == [None] * len(empty)
    assert (photo["description"], photo["attributes"], photo["product_url"]) == ("", {}, None)


@pytest.mark.parametrize("field", ["APIKey", "api_key"])
@pytest.mark.parametrize("kind", ["data", "json"])
def test_the_key_may_stand_in_the_body(shop: ShopClient, field: str, kind: str) -> None:
    body = {"name": "Dress", "Photo": base64_text(garment()), field: shop.key}
    answer = shop.http.request("POST", PHOTOS, **{kind: body})
    assert answer.status_code == 201, answer.text
    assert shop.key not in answer.text
    assert shop.read(answer.json()["ImageID"])["name"] == "Dress"


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_the_key_may_stand_in_a_header(shop: ShopClient, header: str) -> None:
    image_id = shop.add(garment())["ImageID"]
    value = f"Bearer {shop.key}" if header == "Authorization" else shop.key
    answer = shop.http.request("GET", f"{PHOTOS}{image_id}/", headers={header: value})
    assert answer.status_code == 200
    assert answer.json()["ImageID"] == image_id


def test_both_slash_forms_answer(shop: ShopClient) -> None:
    photo = {"Photo": base64_text(garment()), "name": "Dress"}
    answers = [shop.request("POST", path, json=photo) for path in (PHOTOS, PHOTOS.rstrip("/"))]
    assert [answer.status_code for answer in answers] == [201, 201]
    image_id = answers[0].json()["ImageID"]
    for path in (f"{PHOTOS}{image_id}", f"{PHOTOS}{image_id}/"):
        answer = shop.request("GET", path, follow_redirects=False)
        assert (answer.status_code, answer.json()["ImageID"]) == (200, image_id)
    paths = ("/api/categories", "/api/styles/", "/api/age-groups", PHOTOS.rstrip("/"))
    assert [shop.request("GET", path).status_code for path in paths] == [200] * 4


def test_wait_gives_up_after_its_time(shop: ShopClient) -> None:
    answer = shop.upload(garment(), wait_s=0.2, name="Dress")
    assert (answer.status_code, answer.json()["status"]) == (201, "pending")


def test_the_photo_address_answers_the_very_bytes(shop: ShopClient) -> None:
    photo = shop.add(garment())
    address = urlsplit(photo["Photo"])
    assert (address.scheme, address.netloc) == ("http", "testserver")
    answer = shop.http.request("GET", f"{address.path}?{address.query}")
    assert (answer.status_code, answer.content) == (200, garment())
    assert answer.headers["content-type"] == "image/jpeg"
    for forged in (address.query[:-1] + "x", address.query.replace("expires=", "expires=9"), ""):
        assert_problem(shop.http.request("GET", f"{address.path}?{forged}"), 404, "not_found")
    stranger = f"/media/{photo['ImageID'] + 1}/{address.path.rsplit('/', 1)[-1]}?{address.query}"
    assert_problem(shop.http.request("GET", stranger), 404, "not_found")


def test_metadata_alone_is_never_embedded_again(service: FakeService, shop: ShopClient) -> None:
    image_id = shop.add(garment(), sku="A", description="Old", Category=1)["ImageID"]
    service.embed(shop.shop_id, image_id)
    before = shop.read(image_id)
    changes = {
        "name": "New name",
        "Category": 2,
        "Styles": 3,
        "AgeGroup": None,
        "attributes": {"fit": "slim"},
    }
    answer = shop.patch(image_id, **changes)
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert {name: after[name] for name in changes} == changes
    kept = ("sku", "description", "status", "embedded_at", "Processor_embedded", "photo_sha256", "created_at")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert after["category_name"] == "T-shirts"
    assert shop.patch(image_id, Category=None, description="").json()["Category"] is None


def test_a_new_photo_is_embedded_again_and_the_same_one_is_not(
    service: FakeService, shop: ShopClient
) -> None:
    image_id = shop.add(garment(seed=1))["ImageID"]
    service.embed(shop.shop_id, image_id)
    same = shop.patch(image_id, Photo=base64_text(garment(seed=1)))
    assert (same.status_code, same.json()["status"]) == (200, "embedded")
    changed = shop.request("PATCH", f"{PHOTOS}{image_id}/", files={"Photo": garment(seed=2)})
    assert (changed.status_code, changed.json()["status"]) == (200, "pending")
    assert changed.json()["Processor_embedded"] is False
    assert shop.recommendations("anything") == []
    address = urlsplit(changed.json()["Photo"])
    assert shop.http.request("GET", f"{address.path}?{address.query}").content == garment(seed=2)


def test_a_sku_belongs_to_one_photo_of_a_shop(
    service: FakeService, shop: ShopClient, new_shop: Callable[[], ShopClient]
) -> None:
    first = shop.add(garment(seed=1), sku="A")
    second = shop.add(garment(seed=2), sku="B")
    before = service.stored(shop.shop_id)
    assert_problem(shop.upload(garment(seed=3), name="Dress", sku="A"), 409, "conflict", "/sku")
    assert_problem(shop.patch(second["ImageID"], sku="A"), 409, "conflict", "/sku")
    photo = base64_text(garment(seed=3))
    assert_problem(shop.patch(second["ImageID"], sku="A", Photo=photo), 409, "conflict", "/sku")
    assert service.stored(shop.shop_id) == before
    assert new_shop().upload(garment(), name="Dress", sku="A").status_code == 201
    assert shop.delete(first["ImageID"]).status_code == 204
    assert shop.patch(second["ImageID"], sku="A").status_code == 200


def test_a_deleted_photo_is_gone_at_once(service: FakeService, shop: ShopClient) -> None:
    photo = shop.add(garment())
    image_id, address = photo["ImageID"], urlsplit(photo["Photo"])
    service.embed(shop.shop_id, image_id)
    assert len(shop.recommendations("photo")) == 1
    answer = shop.delete(image_id)
    assert (answer.status_code, answer.content) == (204, b"")
    assert shop.recommendations("photo") == []
    assert shop.all_photos() == []
    for gone in (
        shop.get(image_id),
        shop.patch(image_id, name="x"),
        shop.delete(image_id),
        shop.retry(image_id),
    ):
        assert_problem(gone, 404, "not_found")
    assert_problem(shop.http.request("GET", f"{address.path}?{address.query}"), 404, "not_found")


def test_only_a_failed_photo_is_retried(service: FakeService, shop: ShopClient) -> None:
    image_id = shop.add(garment())["ImageID"]
    assert_problem(shop.retry(image_id), 422, "invalid_input")
    service.set_status(image_id, ImageStatus.FAILED, error="The stored photo is gone.")
    assert shop.read(image_id)["error"] == "The stored photo is gone."
    answer = shop.retry(image_id)
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (202, "pending", None)


def test_another_shops_photo_is_not_found(
    service: FakeService, shop: ShopClient, new_shop: Callable[[], ShopClient]
) -> None:
    stranger, image_id = new_shop(), shop.add(garment())["ImageID"]
    service.set_status(image_id, ImageStatus.FAILED, error="x")
    before = service.stored(shop.shop_id)
    assert_hidden_from(stranger, image_id)
    assert service.stored(shop.shop_id) == before


@pytest.mark.parametrize("image_id", [0, -1, 2**31, 2**70, "x", "1.5", "\u0661"])
def test_an_id_that_cannot_be_is_refused(shop: ShopClient, image_id: object) -> None:
    assert_problem(shop.request("GET", f"{PHOTOS}{image_id}/"), 422, "invalid_input", "/image_id")


def test_the_vocabularies_are_filled(shop: ShopClient) -> None:
    for path, first in (("categories", "Dresses"), ("styles", "Casual"), ("age-groups", "Baby")):
        terms = shop.request("GET", f"/api/{path}/").json()
        assert terms[0]["name"] == first
        assert terms[0].keys() == {"id", "name", "description"}
        assert len({term["id"] for term in terms}) == len(terms) >= 5
