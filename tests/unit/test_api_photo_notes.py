"""Suggestions and warnings over HTTP: how they are shown, and what a PATCH does to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from models.image import Image, ImageStatus
from tests.drawings import garment
from tests.shop_client import PHOTOS, ShopClient, assert_problem
from tests.unit.conftest import FakeService


def note(service: FakeService, image_id: int, **columns: Any) -> None:
    """What the Indexer does, without a model."""
    with service.database.transaction() as session:
        session.execute(update(Image).where(col(Image.id) == image_id).values(**columns))


def columns_of(service: FakeService, image_id: int) -> Image:
    with service.database.transaction() as session:
        return session.get_one(Image, image_id)


@pytest.fixture
def tagged(service: FakeService, shop: ShopClient) -> int:
    """A photo whose category and style the model filled in."""
    photo = shop.add(garment(), auto_tag="true", AgeGroup=4)
    assert (photo["auto_tag"], photo["suggestions"], photo["warnings"]) == (True, {}, [])
    image_id = int(photo["ImageID"])
    service.set_status(image_id, ImageStatus.EMBEDDED)
    note(service, image_id, category_id=1, style_id=2, suggestions={"Category": 0.93, "Styles": 0.7})
    return image_id


def test_what_was_filled_in_is_marked_until_the_shop_says_so(shop: ShopClient, tagged: int) -> None:
    marks = {"Category": {"confidence": 0.93}, "Styles": {"confidence": 0.7}}
    assert shop.read(tagged)["suggestions"] == marks
    assert shop.patch(tagged, name="Renamed").json()["suggestions"] == marks
    confirmed = shop.patch(tagged, Category=1).json()
    assert (confirmed["Category"], confirmed["suggestions"]) == (1, {"Styles": marks["Styles"]})
    cleared = shop.patch(tagged, Styles=None).json()
    assert (cleared["Styles"], cleared["suggestions"]) == (None, {})


def test_null_is_an_answer_until_the_shop_asks_anew(
    service: FakeService, shop: ShopClient, tagged: int
) -> None:
    shop.patch(tagged, Category=None, Styles=None)
    before = columns_of(service, tagged)
    assert before.suggestions == {"Category": None, "Styles": None}
    assert shop.patch(tagged, auto_tag=True, Styles=None).json()["status"] == "embedded"
    after = columns_of(service, tagged)
    assert after.suggestions == {"Styles": None}
    assert after.metadata_revision > before.metadata_revision, "the Indexer looks at it"
    assert shop.patch(tagged, auto_tag=False).json()["auto_tag"] is False


def test_a_new_photo_takes_its_own_terms(service: FakeService, shop: ShopClient, tagged: int) -> None:
    warning = {"code": "category_contradicted", "Category": 1, "suggested": 2}
    note(service, tagged, warnings=[warning])
    files = {"Photo": garment(seed=1)}
    answer = shop.request("PATCH", f"{PHOTOS}{tagged}/", files=files, data={"Styles": "3"})
    assert answer.status_code == 200, answer.text
    photo = answer.json()
    assert (photo["Category"], photo["Styles"], photo["AgeGroup"]) == (None, 3, 4)
    assert (photo["suggestions"], photo["warnings"], photo["status"]) == ({}, [], "pending")
    assert columns_of(service, tagged).suggestions == {"Styles": None}


def test_a_mark_goes_with_its_term(service: FakeService, shop: ShopClient, tagged: int) -> None:
    note(service, tagged, category_id=None)
    assert shop.read(tagged)["suggestions"].keys() == {"Styles"}


def test_warnings_are_told_in_words_and_listed(service: FakeService, shop: ShopClient) -> None:
    first, second, third = (shop.add(garment(seed=n), sku=f"A-{n}", Category=1)["ImageID"] for n in range(3))
    sha256 = columns_of(service, first).photo_sha256
    twin = {"code": "near_duplicate", "ImageID": first, "photo_sha256": sha256, "score": 0.9931}
    doubt = {"code": "category_contradicted", "Category": 1, "confidence": 0.01}
    note(service, second, warnings=[twin, doubt | {"suggested": 13, "suggested_confidence": 0.97}])
    near, category = shop.read(second)["warnings"]
    assert "photo " + str(first) in near.pop("detail")
    assert near == {"code": "near_duplicate", "ImageID": first, "sku": "A-0", "score": 0.9931}
    assert "'Dresses'" in category["detail"]
    assert "'Shoes'" in category["detail"]
    assert category["suggested"] == {"id": 13, "name": "Shoes", "confidence": 0.97}

    gone = twin | {"ImageID": third, "photo_sha256": "0" * 64}
    note(service, first, warnings=[gone])
    listed = shop.request("GET", PHOTOS, params={"warnings": "true", "limit": 1}).json()
    assert [photo["ImageID"] for photo in listed["results"]] == [second]
    assert listed["next"] is None
    assert len(shop.all_photos()) == 3
    problem = shop.request("GET", PHOTOS, params={"warnings": "some"})
    assert_problem(problem, 422, "invalid_input", "/warnings")

    lines = [json.loads(line) for line in shop.request("GET", "/api/export/").text.splitlines()]
    exported = {line["ImageID"]: line["warnings"] for line in lines if line["type"] == "photo"}
    assert [len(exported[one]) for one in (first, second, third)] == [0, 2, 0]


def test_a_page_of_warned_photos_goes_on(service: FakeService, shop: ShopClient) -> None:
    ids = [shop.add(garment(seed=n), Category=1)["ImageID"] for n in range(4)]
    doubt = {"code": "category_contradicted", "Category": 1, "confidence": 0.01, "suggested": 2}
    for image_id in ids[1:]:
        note(service, image_id, warnings=[doubt | {"suggested_confidence": 0.9}])
    page = shop.request("GET", PHOTOS, params={"warnings": "true", "limit": 2}).json()
    assert [photo["ImageID"] for photo in page["results"]] == [ids[3], ids[2]]
    rest = shop.request("GET", page["next"]).json()
    assert ([photo["ImageID"] for photo in rest["results"]], rest["next"]) == ([ids[1]], None)


@pytest.mark.parametrize("value", ["maybe", None, [], "2"])
def test_auto_tag_is_a_boolean(shop: ShopClient, tagged: int, value: Any) -> None:
    assert_problem(shop.patch(tagged, auto_tag=value), 422, "invalid_input", "/auto_tag")
