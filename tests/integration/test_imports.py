"""Imports on the real service: the Indexer, its tasks and the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.drawings import garment
from tests.import_jobs import counts_of, csv_feed, wait_for_end, zip_feed
from tests.integration.test_shop_deletion import assert_nothing_left_of, delete_shop, wait_for_report
from tests.shop_client import PHOTOS, ShopClient
from tests.stack import Stack

KINDS = ("dress", "shirt", "hat", "bag", "coat")


def feed(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "sku": f"I{number}",
            "name": f"Item {number}",
            "photo": garment(KINDS[number % 5], seed=seed + number),
        }
        for number in range(count)
    ]


def post(shop: ShopClient, body: bytes, **options: str) -> int:
    headers = {"Content-Type": "application/octet-stream"}
    answer = shop.request("POST", f"{PHOTOS}bulk/", content=body, params=options, headers=headers)
    assert answer.status_code == 202, answer.text
    return int(answer.json()["id"])


@pytest.mark.parametrize("written", [csv_feed, zip_feed])
def test_an_imported_catalogue_is_found(
    stack: Stack, shop: ShopClient, written: Callable[[list[dict[str, Any]]], bytes]
) -> None:
    job = wait_for_end(stack, post(shop, written(feed(20))))
    assert (job["status"], counts_of(job)) == (
        "succeeded",
        {"total": 20, "checked": 20, "created": 20, "photos": 20},
    )
    photos = shop.all_photos()
    assert {(photo["status"], photo["sku"]) for photo in photos} == {
        ("embedded", f"I{number}") for number in range(20)
    }
    assert len(shop.recommendations("a red dress", 20)) == 20
    embedded = stack.embedded_when(shop.shop_id)

    again = wait_for_end(stack, post(shop, written(feed(20)[:15]), mode="full"))
    assert counts_of(again) == {"total": 15, "checked": 15, "unchanged": 15, "removed": 5}
    assert len(shop.all_photos()) == 15
    assert stack.embedded_when(shop.shop_id).items() <= embedded.items()


def test_a_shop_can_be_deleted_while_it_imports(stack: Stack, shop: ShopClient) -> None:
    job_id = post(shop, csv_feed(feed(200)))
    deadline = time.monotonic() + 60
    while len(shop.all_photos()) < 30:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    wait_for_report(stack, delete_shop(shop))
    assert_nothing_left_of(stack, shop.shop_id)
    assert stack.execute("SELECT count(*) FROM job WHERE id = :id", id=job_id) == [(0,)]
