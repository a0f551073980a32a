"""Filters and facets as clients send them: what is refused, what hostile ones do, what is logged."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from models.prompt import Prompt
from tests.drawings import garment
from tests.fakes import vector_of
from tests.shop_client import RECOMMENDATIONS, ShopClient, assert_problem
from tests.unit.conftest import FakeService

BRACES = "{'; DROP TABLE image; --"


def ask(shop: ShopClient, **fields: Any) -> Any:
    """With the text made here, as clients may send what Python's encoder would not."""
    body = json.dumps({"prompt": "a red dress", "number_of_images": 20} | fields)
    headers = {"Content-Type": "application/json"}
    return shop.request("POST", RECOMMENDATIONS, content=body, headers=headers)


def found(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["recommendations"]]


def stock(service: FakeService, shop: ShopClient, **photos: dict[str, Any]) -> list[int]:
    ids = []
    for number, (name, fields) in enumerate(photos.items()):
        sent = fields | {"attributes": json.dumps(fields.get("attributes", {}))}
        ids.append(shop.add(garment(seed=number), name=name, **sent)["ImageID"])
        service.embed(shop.shop_id, ids[-1], vector_of(name))
    return ids


def test_what_matches_is_found_counted_and_logged(service: FakeService, shop: ShopClient) -> None:
    stock(
        service,
        shop,
        red={"Category": 1, "attributes": {"sizes": ["S", "M"]}},
        blue={"Category": 1, "attributes": {"sizes": "M"}},
        green={"Category": 2},
    )
    filters = {"Category": "DRESSES", "sku": {"not_in": ["x"]}}
    answer = ask(shop, filters=filters, facets=["Category", "attributes.sizes"])
    assert found(answer) == ["red", "blue"]
    assert answer.json()["facets"] == {
        "Category": [{"id": 1, "value": "Dresses", "count": 2}],
        "attributes.sizes": [{"id": None, "value": "M", "count": 2}, {"id": None, "value": "S", "count": 1}],
    }
    assert found(ask(shop)) == ["red", "blue", "green"]
    assert ask(shop).json()["facets"] is None
    service.flush_prompts()
    with service.database.transaction() as session:
        logged = session.get(Prompt, uuid.UUID(answer.json()["prompt_id"]))
        assert logged is not None
        assert logged.filters == {"Category": ["DRESSES"], "sku": {"not_in": ["x"]}}


def test_filters_without_a_condition_filter_nothing(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, red={}, blue={})
    assert found(ask(shop, filters={})) == found(ask(shop, filters=None)) == ["red", "blue"]
    assert found(ask(shop, filters={"attributes": {}})) == ["red", "blue"]


@pytest.mark.parametrize("name", ["'", '"', "%s", "a.b[0]", "$", "\\", "☃", " ", BRACES, "x" * 250])
def test_an_attribute_may_have_any_name_and_value(service: FakeService, shop: ShopClient, name: str) -> None:
    stock(service, shop, red={"attributes": {name: name}}, blue={"attributes": {name: [1, name]}}, green={})
    for condition in ({"equals": name}, {"any": [name, "other"]}, {"any": [name, "a", "b", "c", "d"]}):
        answer = ask(shop, filters={"attributes": {name: condition}}, facets=[f"attributes.{name}"])
        assert set(found(answer)) == {"red", "blue"}
        assert answer.json()["facets"][f"attributes.{name}"][0] == {"id": None, "value": name, "count": 2}
    assert found(ask(shop, filters={"attributes": {name: {"gte": 1}}})) == ["blue"]


@pytest.mark.parametrize(
    ("filters", "pointer"),
    [
        ({"$where": 1}, "/filters/$where"),
        ({"attributes": {"a": {"$gt": 1}}}, "/filters/attributes/a/$gt"),
        ({"attributes": {"a": {"equals": 1, "any": [1]}}}, "/filters/attributes/a"),
        ({"attributes": {"a": {"gte": 1, "gt": 1}}}, "/filters/attributes/a"),
        ({"attributes": {"a": {}}}, "/filters/attributes/a"),
        ({"attributes": {"a": {"equals": None}}}, "/filters/attributes/a"),
        ({"attributes": {"a": {"any": []}}}, "/filters/attributes/a/any"),
        ({"attributes": {"a": {"gte": float("nan")}}}, "/filters/attributes/a/gte"),
        ({"attributes": {"a": {"lt": 10**400}}}, "/filters/attributes/a/lt"),
        ({"attributes": {"a\x00": {"equals": 1}}}, "/filters/attributes/a\x00"),
        ({"attributes": {"": {"equals": 1}}}, "/filters/attributes/"),
        ({"attributes": {"a": {"equals": "\ud800"}}}, "/filters/attributes/a/equals"),
        ({"attributes": {"a": {"equals": [1]}}}, "/filters/attributes/a/equals"),
        ({"attributes": {"a": {"any": [1, "a\x00"]}}}, "/filters/attributes/a/any/1"),
        ({"attributes": {"a": 5}}, "/filters/attributes/a"),
        ({"sku": {"in": ["a\x00"]}}, "/filters/sku/in/0"),
        ({"sku": {"within": ["a"]}}, "/filters/sku/within"),
        ({"sku": {}}, "/filters/sku"),
        ({"Category": [1, True]}, "/filters/Category/1"),
        ({"AgeGroup": "\ud800"}, "/filters/AgeGroup/0"),
        ({"Category": []}, "/filters/Category"),
        ({"Category": 999_999}, "/filters/Category/0"),
        ({"Styles": ["Casual", "Nobody's"]}, "/filters/Styles/1"),
        ({"created_after": "2026-01-01T00:00:00"}, "/filters/created_after"),
        ({"created_after": "yesterday"}, "/filters/created_after"),
        ({"created_after": "2026"}, "/filters/created_after"),
        ({"created_after": 1_770_000_000}, "/filters/created_after"),
        ({"created_after": "9999-12-31T23:59:59-23:59"}, "/filters/created_after"),
        ([], "/filters"),
        ("all", "/filters"),
    ],
)
def test_what_is_no_filter_is_refused_where_it_stands(shop: ShopClient, filters: Any, pointer: str) -> None:
    answer = ask(shop, filters=filters)
    assert answer.status_code == 422, answer.text
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


def test_a_term_that_does_not_exist_is_named(shop: ShopClient) -> None:
    answer = ask(shop, filters={"Styles": ["Casual", "Nobody's"]})
    problem = assert_problem(answer, 422, "unknown_reference", "/filters/Styles/1")
    assert "'Nobody's'" in problem["detail"]
    assert "GET /api/styles/" in problem["detail"]


@pytest.mark.parametrize(
    "facet", ["name", "attributes.", "attributes", "Category\n", "attributes.a\x00", 5, None]
)
def test_what_is_no_facet_is_refused(shop: ShopClient, facet: Any) -> None:
    answer = ask(shop, facets=[facet])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/facets/0")


def test_moments_at_the_ends_of_time(service: FakeService, shop: ShopClient) -> None:
    stock(service, shop, red={})
    assert found(ask(shop, filters={"created_after": "0001-01-02T00:00:00+23:59"})) == ["red"]
    assert found(ask(shop, filters={"created_after": "9999-12-30T23:59:59-23:59"})) == []
    assert found(ask(shop, filters={"created_after": "2026-01-01T00:00:00+23:59"})) == ["red"]
