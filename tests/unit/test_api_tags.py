"""Zero-shot tags over HTTP: what is scored, what is refused, nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from models.errors import DependencyTimeout
from models.image import ImageStatus
from tests.drawings import garment
from tests.fakes import vector_of
from tests.shop_client import ShopClient, assert_problem, base64_text
from tests.unit.conftest import FakeService

TAGS = "/api/tags/"


def ask(shop: ShopClient, photo: bytes | None = None, **fields: Any) -> Any:
    if photo is not None:
        fields["Photo"] = base64_text(photo)
    return shop.request("POST", TAGS, json=fields)


def test_a_photo_is_scored_against_the_three_vocabularies(service: FakeService, shop: ShopClient) -> None:
    answer = shop.request("POST", TAGS, files={"Photo": garment()})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["fallback_model"], body["labels"]) == (f"fake@{'1' * 12}", False, None)
    for field, path in (("Category", "categories"), ("Styles", "styles"), ("AgeGroup", "age-groups")):
        terms = {term["id"]: term["name"] for term in shop.request("GET", f"/api/{path}/").json()}
        assert {one["id"]: one["name"] for one in body[field]} == terms
        shares = [one["confidence"] for one in body[field]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1.0, abs=1e-3)
    assert service.stored(shop.shop_id) == ([], {})


def test_own_labels_and_how_many(shop: ShopClient) -> None:
    labels = ["boat", "photo", "tree"]
    body = ask(shop, garment(), labels=labels).json()
    assert (body["Category"], body["Styles"], body["AgeGroup"]) == (None, None, None)
    assert {one["label"] for one in body["labels"]} == set(labels)
    assert body["labels"][0]["label"] == "photo"
    assert sum(one["confidence"] for one in body["labels"]) == pytest.approx(1.0, abs=1e-3)
    form = {"labels": json.dumps(labels), "top": "1"}
    few = shop.request("POST", TAGS, files={"Photo": garment()}, data=form).json()
    assert few["labels"] == body["labels"][:1]
    assert len(ask(shop, garment(), top=2).json()["Category"]) == 2


def test_a_photo_of_the_shop(
    service: FakeService, shop: ShopClient, new_shop: Callable[[], ShopClient]
) -> None:
    image_id = shop.add(garment())["ImageID"]
    problem = assert_problem(ask(shop, image_id=image_id), 409, "conflict", "/image_id")
    assert "pending" in problem["detail"]
    service.embed(shop.shop_id, image_id, vector_of("a blue boat"))
    answer = ask(shop, image_id=image_id, labels=["red tree", "blue boat"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["labels"][0]["label"] == "blue boat"
    service.set_status(image_id, ImageStatus.DELETING)
    assert_problem(ask(shop, image_id=image_id), 404, "not_found", "/image_id")
    theirs = new_shop().add(garment(seed=1))["ImageID"]
    assert_problem(ask(shop, image_id=theirs), 404, "not_found")


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({}, "photo_missing", "/Photo"),
        ({"image_id": 1, "Photo": base64_text(garment())}, "invalid_input", "/image_id"),
        ({"Photo": "!"}, "invalid_input", "/Photo"),
        ({"Photo": ""}, "photo_empty", "/Photo"),
        ({"Photo": base64_text(garment()[:500])}, "photo_unreadable", "/Photo"),
        ({"image_id": 0}, "invalid_input", "/image_id"),
        ({"image_id": 1, "labels": ["one"]}, "invalid_input", "/labels"),
        ({"image_id": 1, "labels": ["Tie", " tie "]}, "invalid_input", "/labels"),
        ({"image_id": 1, "labels": ["a", " "]}, "invalid_input", "/labels/1"),
        ({"image_id": 1, "labels": ["a", "\ud800"]}, "invalid_input", "/labels/1"),
        ({"image_id": 1, "labels": [str(number) for number in range(101)]}, "invalid_input", "/labels"),
        ({"image_id": 1, "labels": "a, b"}, "invalid_input", "/labels"),
        ({"image_id": 1, "top": 0}, "invalid_input", "/top"),
        ({"image_id": 1, "threshold": 0.5}, "invalid_input", "/threshold"),
    ],
)
def test_what_cannot_be_scored(shop: ShopClient, fields: dict[str, Any], code: str, pointer: str) -> None:
    body = json.dumps(fields).encode()
    answer = shop.request("POST", TAGS, content=body, headers={"Content-Type": "application/json"})
    assert_problem(answer, 422, code, pointer)


def test_what_is_no_photo(shop: ShopClient) -> None:
    assert_problem(ask(shop, b"GIF89 or so it says"), 415, "photo_type_unsupported", "/Photo")


@pytest.mark.parametrize("part", ["text_embedder", "image_embedder"])
def test_a_tower_that_fails_is_a_clear_answer(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(getattr(service, part), "error", DependencyTimeout("It rests."))
    assert_problem(ask(shop, garment(), labels=["never", "asked before"]), 504, "dependency_timeout")
