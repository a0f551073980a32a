"""Parts of the service killed at random times while catalogues are imported: every row counts once.

By default a small one in both formats at once, each part killed once. ``make chaos`` imports 5,000 photos by
CSV, then by ZIP, and kills each part five times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from tests.chaos.test_killed_parts import assert_index_equals_rows
from tests.drawings import garment
from tests.import_jobs import counts_of, csv_feed, send_to, wait_for_end, zip_feed
from tests.shop_client import ShopClient
from tests.stack import Stack

PHOTOS = int(os.environ.get("IMPORT_CHAOS_PHOTOS", "100"))
KILLS = int(os.environ.get("IMPORT_CHAOS_KILLS", "1"))
SEED = int(os.environ.get("IMPORT_CHAOS_SEED", "0")) or int(time.time())
FORMATS = {"csv": csv_feed, "zip": zip_feed}
RUNS = [("csv", "zip")] if KILLS == 1 else [("csv",), ("zip",)]
PATIENCE_S = 60.0 + 0.25 * PHOTOS
WORKERS = ("ray::import_photos", "ray::import_batch")
HELD_FROM = 0.5  # of all rows: from here on they wait until the workers that are to die were found
DEATHS_IN_A_ROW = 3  # without progress; after five the service gives a job up
KINDS = ("dress", "shirt", "hat", "bag", "coat")
COLOURS = ("red", "blue", "green", "yellow", "black")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(2 * PATIENCE_S + 120)]


@dataclass(frozen=True)
class Kill:
    """``title``: of the process. Due once ``count`` photos are in the state that it works towards."""

    count: int
    is_of_stored: bool
    title: str


def photo(number: int) -> bytes:
    return garment(KINDS[number % 5], COLOURS[number // 5 % 5], seed=number)


def plan(photos: int, data_dir: str, random: Random) -> list[Kill]:
    """Workers die while rows are stored, the others whenever; there is work left each time."""
    others = [
        "ServeReplica:fashion:Indexer",
        "ServeReplica:fashion:ImageEmbedder",
        f"--path {data_dir}/chroma",
    ]

    def times(share: float) -> list[int]:
        return [random.randint(1, int(share * photos)) for _ in range(KILLS)]

    kills = [Kill(count, True, title) for title in WORKERS for count in times(HELD_FROM)]
    return kills + [Kill(count, False, title) for title in others for count in times(0.7)]


@pytest.mark.parametrize("formats", RUNS, ids="+".join)
def test_every_row_counts_once_whatever_is_killed(
    stack: Stack, new_shop: Callable[[], ShopClient], formats: Sequence[str]
) -> None:
    feed = [
        {"sku": f"K{number}", "name": f"Item {number}", "photo": photo(number)} for number in range(PHOTOS)
    ]
    shops = {new_shop(): FORMATS[name](feed) for name in formats}
    sent = {shop: send_to(stack, shop, written) for shop, written in shops.items()}
    print(f"IMPORT_CHAOS_SEED={SEED}")  # noqa: T201
    kills = plan(PHOTOS * len(shops), str(stack.data_dir), Random(SEED))
    done = carry_out(stack, [shop.shop_id for shop in shops], kills)
    assert sorted(done) == sorted(kill.title for kill in kills)
    for shop, job_id in sent.items():
        job = wait_for_end(stack, job_id, PATIENCE_S)
        assert (job["status"], counts_of(job)) == (
            "succeeded",
            {"total": PHOTOS, "checked": PHOTOS, "created": PHOTOS, "photos": PHOTOS},
        )
        assert_stored_once(stack, shop, feed)


def carry_out(stack: Stack, shop_ids: list[int], kills: list[Kill]) -> list[str]:
    """The titles of what was killed, each at its time."""
    left, done = sorted(kills, key=lambda kill: kill.count), list[str]()
    deadline = time.monotonic() + PATIENCE_S
    query = (
        "SELECT count(*), count(*) FILTER (WHERE status = 'embedded') FROM image WHERE shop_id = ANY(:ids)"
    )
    stored = deaths = 0
    with Brake(stack, shop_ids) as brake:
        while left:
            before = stored
            ((stored, embedded),) = stack.execute(query, ids=shop_ids)
            deaths = deaths if stored == before else 0
            may_die = any(one.is_of_stored for one in left) and deaths < DEATHS_IN_A_ROW
            brake.set(may_die and stored >= HELD_FROM * PHOTOS * len(shop_ids))
            for kill in due(left, stored, embedded):
                if (deaths < DEATHS_IN_A_ROW or not kill.is_of_stored) and killed(stack, kill.title):
                    left.remove(kill)
                    done.append(kill.title)
                    deaths += kill.is_of_stored
                    print(f"{stored} stored, {embedded} embedded: killed {kill.title}")  # noqa: T201
            assert time.monotonic() < deadline, (stored, embedded, left)
            time.sleep(0.02)
    return done


def due(kills: list[Kill], stored: int, embedded: int) -> list[Kill]:
    return [one for one in kills if (stored if one.is_of_stored else embedded) >= one.count]


class Brake(ExitStack):
    """While it is set, batches wait for their shops' rows, so that there is something to kill."""

    def __init__(self, stack: Stack, shop_ids: list[int]) -> None:
        super().__init__()
        self._stack, self._shop_ids, self._is_set = stack, shop_ids, False

    def set(self, wanted: bool) -> None:
        if wanted and not self._is_set:
            statement = text("SELECT 1 FROM shop WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE")
            self.enter_context(self._stack.transaction()).execute(statement, {"ids": self._shop_ids})
        elif not wanted:
            self.close()
        self._is_set = wanted


def killed(stack: Stack, title: str) -> bool:
    """SIGKILL to one such process; false where there is none at this moment."""
    for victim in stack.processes(title)[:1]:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
            victim.wait(10)
            return True
    return False


def assert_stored_once(stack: Stack, shop: ShopClient, feed: list[dict[str, Any]]) -> None:
    """Rows, files and the index hold the feed, once, and nothing else.

    But for files that were being written by what was killed: they lie in a photo's folder, and go with it.
    """
    query = "SELECT id, sku, photo_sha256, photo_key FROM image WHERE shop_id = :shop"
    rows = stack.execute(query, shop=shop.shop_id)
    assert sorted((row[1], row[2]) for row in rows) == sorted(
        (one["sku"], sha256(one["photo"]).hexdigest()) for one in feed
    )
    media = stack.data_dir / "media"
    found = [path for path in (media / "shops" / str(shop.shop_id)).rglob("*") if path.is_file()]
    assert {path for path in found if path.suffix != ".part"} == {media / row[3] for row in rows}
    assert_index_equals_rows(stack, shop.shop_id, {row[0] for row in rows})
    assert len(shop.recommendations("a red dress", min(len(feed), 100))) == min(len(feed), 100)
