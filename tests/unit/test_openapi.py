"""The service's description of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from models.recommendation_api import RecommendationRequest
from tests.unit.conftest import FakeService
from tests.unit.test_route_roles import TABLE

DOCUMENTATION = Path(__file__).parents[2] / "docs"
WRITTEN = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^`?…]*[^`?…/]/?)[`?]")
Operations = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def operations(service: FakeService) -> Operations:
    """By method and path."""
    paths = service.http.get("/openapi.json").json()["paths"]
    return {(method.upper(), path): one for path, found in paths.items() for method, one in found.items()}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_every_reference_leads_somewhere(service: FakeService) -> None:
    document = service.http.get("/openapi.json").json()
    found = set(references(document))
    assert found
    for reference in found:
        assert reference.startswith("#/"), reference
        assert reduce(lambda node, name: node.get(name, {}), reference[2:].split("/"), document), reference


def test_every_answer_of_every_role_is_described(operations: Operations) -> None:
    for route, operation in operations.items():
        answers = set(TABLE[route].answers.split())
        assert answers <= operation["responses"].keys(), route


def test_what_needs_a_key_or_a_session_says_so(operations: Operations) -> None:
    for route, operation in operations.items():
        refused = TABLE[route].answers.startswith("401") and route != ("POST", "/api/staff/login/")
        assert bool(operation.get("security")) == refused, route


def test_errors_are_problems(service: FakeService, operations: Operations) -> None:
    document = service.http.get("/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for response in document["components"]["responses"].values():
        assert response["content"].keys() == {"application/problem+json"}
    problem = service.http.get("/api/keys/").json()
    assert problem.keys() <= document["components"]["schemas"]["Problem"]["properties"].keys()
    upload = operations["POST", "/api/image-collection/"]["responses"]
    assert " ".join(upload) == "201 401 403 409 413 415 422 429 503 504"
    assert "application/json" in operations["GET", "/readyz"]["responses"]["503"]["content"]


def test_bodies_with_photos_are_forms_or_json(operations: Operations) -> None:
    for route in (
        ("POST", "/api/image-collection/"),
        ("PATCH", "/api/image-collection/{image_id}/"),
        ("POST", "/api/recommendations/"),
        ("POST", "/api/tags/"),
    ):
        content = operations[route]["requestBody"]["content"]
        assert content.keys() == {"application/json", "multipart/form-data"}
        for kind in content.values():
            assert {"Photo", "APIKey", "api_key"} <= kind["schema"]["properties"].keys()
            assert "$defs" not in kind["schema"]


def test_examples_to_try_are_requests(operations: Operations) -> None:
    body = operations["POST", "/api/recommendations/"]["requestBody"]["content"]["application/json"]
    assert body["examples"]
    for example in body["examples"].values():
        RecommendationRequest.model_validate(example["value"])


def test_every_operation_says_in_words_what_it_does(operations: Operations) -> None:
    for route, operation in operations.items():
        assert len(operation["summary"].split()) > 1, route


def test_the_written_documentation_has_the_same_routes(operations: Operations) -> None:
    served = {(method, re.sub(r"\{\w+\}", "ID", path)) for method, path in operations}
    listed, of_search = (routes_in(DOCUMENTATION / name) for name in ("api.md", "search.md"))
    # The first of the vocabularies stands for all three.
    others = ("/api/styles/", "/api/age-groups/")
    first = {(method, path) for method, path in served if not path.startswith(others)}
    assert first <= listed <= served
    assert of_search
    assert of_search <= served


def routes_in(document: Path) -> set[tuple[str, str]]:
    written = WRITTEN.findall(document.read_text("utf-8"))
    return {(method, path.replace("VERSION", "ID")) for method, path in written}
