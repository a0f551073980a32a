"""Categories, styles and age groups: everybody with a key reads, staff writes, photos follow."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from db.session import Database
from tests.drawings import garment
from tests.shop_client import ShopClient, assert_problem
from tests.staff_client import StaffClient, new_staff
from tests.unit.conftest import FakeService

VOCABULARIES = [
    ("categories", "category", "Category", "category_name"),
    ("styles", "style", "Styles", "style_name"),
    ("age-groups", "age_group", "AgeGroup", "age_group_name"),
]


@pytest.fixture
def staff(service: FakeService) -> StaffClient:
    return new_staff(service.http, service.database)


def unique(name: str) -> str:
    return f"{name} {uuid.uuid4().hex}"


@pytest.mark.parametrize(("path", "noun", "field", "name_field"), VOCABULARIES)
def test_a_term_lives_and_its_photos_follow(
    staff: StaffClient, shop: ShopClient, path: str, noun: str, field: str, name_field: str
) -> None:
    name = unique("Kimonos")
    answer = staff.request("POST", f"/api/{path}/", json={"name": f"  {name} ", "description": " Wide. "})
    term = answer.json()
    address = f"/api/{path}/{term['id']}/"
    assert (answer.status_code, answer.headers["location"]) == (201, address)
    assert term == {"id": term["id"], "name": name, "description": "Wide."}
    for reader in (staff, shop):
        assert reader.request("GET", address).json() == term
        assert reader.request("GET", f"/api/{path}/").json()[-1] == term

    photo = shop.add(garment(), **{field: term["id"]})
    assert (photo[field], photo[name_field]) == (term["id"], name)
    renamed = {"name": name.upper(), "description": "Wider."}
    assert staff.request("PATCH", address, json=renamed).json() == {"id": term["id"], **renamed}
    assert staff.request("PATCH", address, json={}).json() == {"id": term["id"], **renamed}
    assert shop.read(photo["ImageID"])[name_field] == name.upper()

    answer = staff.request("DELETE", address)
    assert (answer.status_code, answer.json()) == (200, {"photos_changed": 1})
    after = shop.read(photo["ImageID"])
    assert (after[field], after[name_field]) == (None, None)
    kept = photo.keys() - {field, name_field, "updated_at"}
    assert {name: after[name] for name in kept} == {name: photo[name] for name in kept}
    for gone in (staff.request("DELETE", address), shop.request("GET", address)):
        assert_problem(gone, 404, "not_found")
    assert_problem(staff.request("PATCH", address, json={}), 404, "not_found")

    before = {"name": name, "description": "Wide."}
    target = str(term["id"])
    assert staff.audited() == [
        (f"{noun}.create", target, {"after": before}),
        (f"{noun}.update", target, {"before": before, "after": renamed}),
        (f"{noun}.delete", target, {"before": renamed, "photos_changed": 1}),
    ]


def test_a_name_is_given_once_whatever_its_case(staff: StaffClient) -> None:
    first, second = staff.add_term("styles", unique("Mod")), staff.add_term("styles")
    entries = len(staff.audited())
    taken = {"name": first["name"].upper()}
    for method, path in (("POST", ""), ("PATCH", f"{second['id']}/")):
        problem = assert_problem(
            staff.request(method, f"/api/styles/{path}", json=taken), 409, "conflict", "/name"
        )
        assert taken["name"] in problem["detail"]
        assert f"'{first['name']}', id {first['id']}" in problem["detail"]
    assert len(staff.audited()) == entries
    assert staff.request("PATCH", f"/api/styles/{first['id']}/", json=taken).status_code == 200
    assert staff.add_term("categories", first["name"])["name"] == first["name"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": " \t"}, "/name"),
        ({"name": None}, "/name"),
        ({"name": 7}, "/name"),
        ({"name": "x" * 251}, "/name"),
        ({"name": "x", "description": "x" * 1001}, "/description"),
        ({"name": "x", "description": None}, "/description"),
        ({"name": "x", "id": 7}, "/id"),
        ({"name": "a\x00b"}, ""),
        ({"name": "x", "description": "\x00"}, ""),
        ({"name": "\ud800"}, None),
    ],
)
def test_what_cannot_be_a_term_changes_nothing(
    staff: StaffClient, fields: dict[str, Any], pointer: str | None
) -> None:
    term = staff.add_term("categories")
    terms, entries = staff.request("GET", "/api/categories/").json(), len(staff.audited())
    body: dict[str, Any] = {
        "content": json.dumps(fields),  # httpx itself refuses lone surrogates
        "headers": {"Content-Type": "application/json"},
    }
    refused = [staff.request("POST", "/api/categories/", **body)]
    if fields:
        refused.append(staff.request("PATCH", f"/api/categories/{term['id']}/", **body))
    for answer in refused:
        assert_problem(answer, 422, "invalid_input", pointer)
    assert staff.request("GET", "/api/categories/").json() == terms
    assert len(staff.audited()) == entries


@pytest.mark.parametrize("term_id", [0, -1, 2**31, 2**70, "x"])
def test_an_id_that_cannot_be_is_refused(staff: StaffClient, term_id: object) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        answer = staff.request(method, f"/api/styles/{term_id}/", json={} if method == "PATCH" else None)
        assert_problem(answer, 422, "invalid_input", "/term_id")


def test_only_staff_writes(service: FakeService, shop: ShopClient, staff: StaffClient) -> None:
    term = staff.add_term("categories")
    address, anybody = f"/api/categories/{term['id']}/", service.http
    for method, path in (("POST", "/api/categories/"), ("PATCH", address), ("DELETE", address)):
        body = {"name": unique("Mine")}
        assert_problem(shop.request(method, path, json=body), 403, "forbidden")
        assert_problem(anybody.request(method, path, json=body), 401, "not_authenticated")
        in_body = anybody.request(method, path, json=body | {"api_key": shop.key})
        assert_problem(in_body, 401, "not_authenticated")
    assert shop.request("GET", address).json() == term


def wait_until_blocked(database: Database, sessions: int) -> None:
    """So many wait for others' locks."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    deadline = time.monotonic() + 30
    while True:
        with database.transaction() as session:
            if (session.scalar(text(query)) or 0) >= sessions:
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def while_a_term_is_deleted(
    service: FakeService, staff: StaffClient, act: Callable[[int], Any]
) -> tuple[Any, Any]:
    """The answers to the deletion and to ``act``, which refers to the term before that is committed."""
    term_id = staff.add_term("styles")["id"]
    answers: list[Any] = []
    shop = service.new_shop()
    image_id = shop.add(garment(seed=9), Styles=term_id)["ImageID"]
    with service.database.transaction() as session:
        # The deletion has the term, and waits for this photo's row.
        session.execute(text("SELECT 1 FROM image WHERE id = :id FOR UPDATE"), {"id": image_id})
        deleting = threading.Thread(target=lambda: answers.append(staff.delete_term("styles", term_id)))
        deleting.start()
        wait_until_blocked(service.database, 1)
        uploading = threading.Thread(target=lambda: answers.append(act(term_id)))
        uploading.start()
        wait_until_blocked(service.database, 2)
    deleting.join(timeout=30)
    uploading.join(timeout=30)
    assert shop.read(image_id)["Styles"] is None
    by_kind = {answer.request.method: answer for answer in answers}
    return by_kind.pop("DELETE"), by_kind.popitem()[1]


def test_a_term_that_goes_during_an_upload_is_unknown(
    service: FakeService, staff: StaffClient, shop: ShopClient
) -> None:
    deleted, uploaded = while_a_term_is_deleted(
        service, staff, lambda term_id: shop.upload(garment(), name="Dress", Styles=term_id)
    )
    assert deleted.json() == {"photos_changed": 1}
    assert_problem(uploaded, 422, "unknown_reference", "/Styles")
    assert service.stored(shop.shop_id) == ([], {})


def test_a_term_that_goes_during_a_change_is_unknown(
    service: FakeService, staff: StaffClient, shop: ShopClient
) -> None:
    image_id = shop.add(garment(), Styles=1)["ImageID"]
    deleted, changed = while_a_term_is_deleted(
        service, staff, lambda term_id: shop.patch(image_id, Styles=term_id)
    )
    assert deleted.json() == {"photos_changed": 1}
    assert_problem(changed, 422, "unknown_reference", "/Styles")
    assert shop.read(image_id)["Styles"] == 1
