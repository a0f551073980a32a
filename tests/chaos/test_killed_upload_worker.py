"""The worker of single uploads killed: the next upload is embedded all the same, and a new worker starts."""

from __future__ import annotations

import time

import pytest

from tests.chaos.test_killed_parts import kill
from tests.drawings import garment
from tests.stack import Stack

TITLE = "ray::UploadWorker"
PATIENCE_S = 60.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


def test_a_killed_upload_worker_loses_no_photo_and_comes_back(stack: Stack) -> None:
    shop = stack.new_shop()
    (before,) = stack.processes(TITLE)
    kill(stack, TITLE)
    for number in range(3):
        shop.add(garment("dress", "red", seed=7_000 + number), sku=f"P{number}")
    assert len(shop.wait_until_embedded()) == 3
    deadline = time.monotonic() + PATIENCE_S
    while not (found := stack.processes(TITLE)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [one.pid for one in found] != [before.pid]
