"""The audit beside a running service: its scripts, whose swaps another process sees, and its own."""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest

from scripts import rebuild_index, verify
from serve_app.passwords import Passwords
from tests.drawings import garment
from tests.shop_client import ShopClient
from tests.stack import Stack


def test_a_service_finds_what_was_repaired_and_rebuilt(
    stack: Stack, shop: ShopClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = three_photos(shop)
    version_id = live_version(stack)
    ((email,),) = stack.execute("SELECT email FROM shop WHERE id = :id", id=shop.shop_id)

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


def three_photos(shop: ShopClient) -> list[int]:
    ids = [shop.add(garment("dress", colour), name=colour)["ImageID"] for colour in ("red", "blue", "green")]
    shop.wait_until_embedded()
    return ids


def live_version(stack: Stack) -> int:
    ((version_id,),) = stack.execute("SELECT id FROM index_version WHERE state = 'live'")
    return int(version_id)


def test_the_indexer_repairs_a_damaged_collection_and_staff_reads_of_it(
    stack: Stack, shop: ShopClient
) -> None:
    ids, place = three_photos(shop), (live_version(stack), shop.shop_id)
    store = stack.vectors()
    before = store.read(*place, ids)
    missing, different, twisted = ids[0], ids[1], -before[ids[1]].vector
    over, answers = threading.Event(), Counter[tuple[int, ...]]()

    def ask() -> None:
        while not over.is_set():
            answer = shop.ask("dress", 3)
            found = [one["ImageID"] for one in answer.json().get("recommendations", [])]
            answers[answer.status_code, *sorted(found)] += 1

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        store.delete(*place, [missing])
        orphan = replace(before[missing], image_id=2**30)
        store.upsert(*place, [replace(before[different], vector=twisted), orphan])
        due = "UPDATE shop SET created_at = now() - interval '2 days' WHERE id = :id"
        stack.execute(due, id=shop.shop_id)
        found, repaired = audited(stack, shop.shop_id)
    finally:
        over.set()
        asker.join()
    assert found["found"] == {"missing": 1, "different": 1, "orphaned": 1}
    assert (repaired, found["left"]) == (found["found"], 0)
    assert {answer[0] for answer in answers} == {200}
    assert {one for answer in answers for one in answer[1:]} <= set(ids)
    after = store.read(*place, [*store.ids(*place)])
    assert after.keys() == before.keys()
    assert all((after[one].vector == before[one].vector).all() for one in ids)
    row = next(one for one in audits_page(stack).split("<tr") if f"/shop/details/{shop.shop_id}'" in one)
    assert "orphaned" in row


def audited(stack: Stack, shop_id: int) -> tuple[dict[str, Any], dict[str, int]]:
    """What the first audit of the shop's collection found and repaired."""
    query = "SELECT found, repaired FROM index_audit WHERE shop_id = :id AND audited_at IS NOT NULL"
    deadline = time.monotonic() + 60.0
    while not (rows := stack.execute(query, id=shop_id)):
        assert time.monotonic() < deadline, "no audit came"
        time.sleep(0.2)
    found, repaired = rows[0]
    return found, repaired


def audits_page(stack: Stack) -> str:
    email, password = f"{uuid.uuid4().hex}@staff.example", uuid.uuid4().hex
    query = "INSERT INTO staff (email, password_hash, active) VALUES (:email, :hash, true)"
    stack.execute(query, email=email, hash=Passwords().hash(password))
    with httpx.Client(base_url=stack.url, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60.0) as browser:
        login = browser.post("/admin/login", data={"username": email, "password": password})
        assert login.status_code in (200, 302, 303), login.text
        page = browser.get("/admin/index-audit/list")
    assert page.status_code == 200
    return page.text
