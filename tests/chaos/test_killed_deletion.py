"""Processes killed while a shop is deleted: the removal goes on, and the report is exact."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.drawings import garment
from tests.integration.test_shop_deletion import assert_nothing_left_of, delete_shop, wait_for_report
from tests.shop_client import ShopClient
from tests.stack import Stack

PROMPTS, FILES = 60_000, 300
PATIENCE_S = 60.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


def kill(victims: list[psutil.Process]) -> None:
    assert victims, "there is nothing to kill"
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := found()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return answer


def test_a_deletion_survives_its_worker_and_the_indexer(stack: Stack, shop: ShopClient) -> None:
    photo = garment()
    image_id = shop.add(photo, wait_s=30)["ImageID"]
    shop.recommendations("a dress")
    stack.execute(
        "INSERT INTO prompt"
        " (id, shop_id, prompt, number_recommended, result_ids, scores, model_key, duration_ms)"
        " SELECT gen_random_uuid(), :shop, 'dress', 1, '{}', '{}', 'm', 1 FROM generate_series(1, :count)",
        shop=shop.shop_id,
        count=PROMPTS,
    )
    for number in range(FILES):  # of uploads that died before their commit
        folder = stack.data_dir / "media" / "shops" / str(shop.shop_id) / str(10**9 + number)
        folder.mkdir()
        (folder / "a.jpg").write_bytes(os.urandom(100))

    report = delete_shop(shop)
    wait_for(lambda: stack.http.get(report).json()["removed"].get("prompts", 0) > 1000)
    kill(stack.processes("ray::delete_shop"))
    kill(stack.processes("ServeReplica:fashion:Indexer"))
    before = stack.http.get(report).json()
    assert before["status"] == "running", "too late to kill anything: it was done already"
    assert before["removed"]["prompts"] < PROMPTS

    assert wait_for_report(stack, report)["removed"] == {
        "photos": 1,
        "files": FILES + 1,
        "bytes": 100 * FILES + len(photo),
        "vectors": 1,
        "collections": 1,
        "prompts": PROMPTS + 1,
        "imports": 0,
        "events": 0,
        "keys": 1,
        "links": 0,
        "mails": 0,
        "deliveries": 0,
    }
    assert_nothing_left_of(stack, shop.shop_id)
    assert image_id not in stack.vectors().ids(1, shop.shop_id)
