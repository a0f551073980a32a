"""The scripts of the audit beside a running service: another process has its handles to what they swap."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from scripts import rebuild_index, verify
from tests.drawings import garment
from tests.shop_client import ShopClient
from tests.stack import Stack


def test_a_service_finds_what_was_repaired_and_rebuilt(
    stack: Stack, shop: ShopClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [shop.add(garment("dress", colour), name=colour)["ImageID"] for colour in ("red", "blue", "green")]
    shop.wait_until_embedded()
    ((version_id, email),) = stack.execute(
        "SELECT index_version.id, email FROM index_version, shop WHERE state = 'live' AND shop.id = :id",
        id=shop.shop_id,
    )

    def run(script: Any, *arguments: str) -> tuple[int, Any]:
        place = ("--data-dir", str(stack.data_dir), "--shop", str(email), "--json")
        monkeypatch.setattr(sys, "argv", [script.__name__, *place, *arguments])
        status = script.main()
        return status, json.loads(capsys.readouterr().out)["collections"][0]

    def found() -> set[int]:
        return {hit["ImageID"] for hit in shop.recommendations("dress", 3)}

    assert found() == set(ids)
    stack.vectors().delete(version_id, shop.shop_id, ids[:1])
    assert found() == set(ids[1:])
    status, told = run(verify)
    assert (status, told["found"]) == (1, {"missing": 1})
    status, told = run(verify, "--repair")
    assert (status, told["repaired"], found()) == (0, {"missing": 1}, set(ids))
    assert run(rebuild_index)[0] == 0
    assert found() == set(ids)
    stack.vectors().drop(version_id, shop.shop_id)
    assert found() == set()
    assert run(rebuild_index)[0] == 0
    assert found() == set(ids)
    assert run(verify)[0] == 0
