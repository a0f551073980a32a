"""The service's description of itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from tests.unit.conftest import FakeService


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
