"""Terms of photos on the real stack: the rows answer at once, the search index follows in the background."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from db.session import Database
from tests.drawings import garment
from tests.shop_client import ShopClient
from tests.stack import Stack
from tests.staff_client import StaffClient, new_staff

PATIENCE_S = 60.0


@pytest.fixture
def staff(stack: Stack) -> Iterator[StaffClient]:
    database = Database(stack.database_url, connections=1)
    yield new_staff(stack.http, database)
    database.close()


def indexed(stack: Stack, shop: ShopClient) -> dict[int, dict[str, Any]]:
    ((version_id,),) = stack.execute("SELECT id FROM index_version WHERE state = 'live'")
    return stack.vectors().metadata(version_id, shop.shop_id)


def behind(stack: Stack, shop: ShopClient) -> int:
    """How many photos' terms the index does not have yet."""
    query = "SELECT count(*) FROM image WHERE shop_id = :shop AND metadata_revision <> indexed_revision"
    ((count,),) = stack.execute(query, shop=shop.shop_id)
    return int(count)


def wait_until_indexed(stack: Stack, shop: ShopClient, expected: dict[int, dict[str, Any]]) -> None:
    """Nothing is left to do, and the index has this; the shop's photos are found all the time."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := (behind(stack, shop), indexed(stack, shop))) != (0, expected):
        assert time.monotonic() < deadline, (found, expected)
        assert {one["ImageID"] for one in shop.recommendations("a dress", 10)} == expected.keys()
        time.sleep(0.1)


def test_the_index_follows_a_photos_terms(stack: Stack, shop: ShopClient, staff: StaffClient) -> None:
    category, style = staff.add_term("categories")["id"], staff.add_term("styles")["id"]
    first = shop.add(garment(seed=1), Category=category, Styles=style, AgeGroup=4, wait_s=60)
    second = shop.add(garment(seed=2), wait_s=60)
    ids = (first["ImageID"], second["ImageID"])
    of_vector = [{"sha256": first["photo_sha256"]}, {"sha256": second["photo_sha256"]}]
    terms = {"category": category, "style": style, "age_group": 4}
    assert indexed(stack, shop) == {ids[0]: of_vector[0] | terms, ids[1]: of_vector[1]}
    embedded_when = stack.embedded_when(shop.shop_id)
    answers_before = shop.recommendations("a dress")

    assert shop.patch(ids[0], Category=None, AgeGroup=2).status_code == 200
    assert shop.patch(ids[1], Category=category).status_code == 200
    changed = {ids[0]: of_vector[0] | {"style": style, "age_group": 2}}
    wait_until_indexed(stack, shop, changed | {ids[1]: of_vector[1] | {"category": category}})

    assert staff.delete_term("categories", category).json() == {"photos_changed": 1}
    after = shop.read(ids[1])
    assert (after["Category"], after["category_name"], after["status"]) == (None, None, "embedded")
    assert next(one for one in shop.all_photos() if one["ImageID"] == ids[1])["Category"] is None
    answers = shop.recommendations("a dress")
    assert [one["Category"] for one in answers] == [None, None]
    wait_until_indexed(stack, shop, changed | {ids[1]: of_vector[1]})

    assert stack.embedded_when(shop.shop_id) == embedded_when, "no photo was embedded again"
    assert after["embedded_at"] == second["embedded_at"]
    scores = {one["ImageID"]: one["score"] for one in answers_before}
    assert {one["ImageID"]: one["score"] for one in shop.recommendations("a dress")} == scores
