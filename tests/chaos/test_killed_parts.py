"""Parts of the service killed while 500 photos are indexed: nothing is lost, nothing is doubled.

Meanwhile ``/readyz`` names what is gone, and says 200 only where questions are answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from db import embeddings, images
from db.session import Database
from db.vectors import VectorStore
from tests.drawings import garment
from tests.readiness_watch import ReadinessWatch
from tests.shop_client import ShopClient
from tests.stack import Stack

PHOTOS = 500
CLIENTS = 8
KINDS = ("dress", "shirt", "hat", "bag", "coat")
COLOURS = ("red", "blue", "green", "yellow", "black")
PATIENCE_S = 180.0
FOUND_AFTER_S = 60.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]


def photo(number: int) -> bytes:
    return garment(KINDS[number % 5], COLOURS[number // 5 % 5], seed=number)


def kill(stack: Stack, title: str) -> None:
    """SIGKILL one process of this stack, as the kernel does when memory runs out."""
    victim, *_ = stack.processes(title)
    victim.kill()
    with suppress(psutil.NoSuchProcess):
        victim.wait(10)


def wait_for_embedded(shop: ShopClient, stack: Stack, count: int) -> int:
    """How many photos are embedded once there are ``count``; time alone is not proof of progress."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        query = "SELECT status, count(*) FROM image WHERE shop_id = :shop GROUP BY status"
        found = dict(stack.execute(query, shop=shop.shop_id))
        if found.get("embedded", 0) >= count:
            return int(found["embedded"])
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_every_photo_is_embedded_once_whatever_is_killed(stack: Stack) -> None:
    shop = stack.new_shop()
    with ThreadPoolExecutor(CLIENTS) as clients, ReadinessWatch(stack) as watch:
        uploads = clients.map(lambda number: shop.add(photo(number), sku=f"P{number}"), range(PHOTOS))
        wait_for_embedded(shop, stack, 30)
        kill(stack, "ServeReplica:fashion:Indexer")
        ids = [one["ImageID"] for one in uploads]
        assert wait_for_embedded(shop, stack, 60) < PHOTOS, "too late to kill anything: it was done already"
        with watch.between_turns():
            kill(stack, "ServeReplica:fashion:ImageEmbedder")
        wait_for_embedded(shop, stack, 200)
        with watch.named("index"):
            kill(stack, f"--path {stack.data_dir}/chroma")
        (replica,) = stack.processes("ServeReplica:fashion:TextEmbedder")
        with watch.named(
            "text_embedder"
        ):  # one that was killed would be back before that counts as no answer
            replica.suspend()
        with watch.between_turns():
            replica.kill()
        wait_for_embedded(shop, stack, PHOTOS)
        watch.wait_for(lambda: watch.answered > 0, "it is ready again")
    assert watch.faults == []

    photos = shop.wait_until_embedded()
    assert sorted(one["ImageID"] for one in photos) == sorted(ids)
    assert len(set(ids)) == PHOTOS
    assert_index_equals_rows(stack, shop.shop_id, set(ids))
    assert len(shop.recommendations("a red dress", 100)) == 100


def assert_index_equals_rows(stack: Stack, shop_id: int, ids: set[int]) -> None:
    """The same ids and the same vectors in Chroma as in PostgreSQL, and each is found."""
    ((version_id, model_key),) = stack.execute("SELECT id, model_key FROM index_version WHERE state = 'live'")
    store, database = stack.vectors(), Database(stack.database_url, connections=1)
    try:
        with database.transaction() as session:
            rows = images.ids(session, shop_id)
            vectors = embeddings.load(session, shop_id, model_key)
    finally:
        database.close()
    assert set(rows) == ids
    assert store.ids(version_id, shop_id) == ids
    assert vectors.keys() == ids
    entries = store.read(version_id, shop_id, sorted(ids))
    for image_id, vector in vectors.items():
        np.testing.assert_allclose(entries[image_id].vector, vector, atol=1e-6)
    wait_until_found(lambda: lost(store, (version_id, shop_id), vectors))


def lost(store: VectorStore, place: tuple[int, int], vectors: Mapping[int, NDArray[np.float32]]) -> list[int]:
    """Photos that their own vector does not find, nor an equal one."""
    wanted = sorted(vectors)
    pages = [wanted[start : start + 100] for start in range(0, len(wanted), 100)]
    found = [hits for page in pages for hits in store.query(*place, np.stack([vectors[i] for i in page]), 10)]
    return [
        one
        for one, hits in zip(wanted, found, strict=True)
        if not any(hit.image_id == one or hit.score >= 1 - 2e-6 for hit in hits)
    ]


def wait_until_found(left: Callable[[], list[int]]) -> None:
    """A graph may lose the way to an entry when others come; the service looks for such once it rests."""
    deadline = time.monotonic() + FOUND_AFTER_S
    while ids := left():
        assert time.monotonic() < deadline, ids
        time.sleep(0.5)
