"""Vectors in memory: exact rankings of named photos, revisions, and the bound on their size."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.search import PhotoVersions, VersionRef
from serve_app.ports import Vector
from serve_app.vector_cache import IDLE_S, ShopVectors, VectorCache

DIMENSION = 8
VECTOR_BYTES = DIMENSION * 4
MANY = 1000
VERSION = VersionRef(1, "a@1", DIMENSION)


def named(ids: list[int], revision: int = 0) -> PhotoVersions:
    return PhotoVersions(np.array(ids, np.int32), np.full(len(ids), revision, np.int32))


def vectors(seed: int, count: int) -> Vector:
    """Some of them equal, some closer than single precision tells apart."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(max(1, count // 3), DIMENSION))[random.integers(0, max(1, count // 3), count)]
    found += random.choice([0, 0, 1e-8, 0.1], size=(count, 1)) * random.normal(size=(count, DIMENSION))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), held=st.integers(1, 60), data=st.data())
def test_the_nearest_are_those_of_double_precision(seed: int, held: int, data: st.DataObject) -> None:
    shop, stored = ShopVectors(DIMENSION, MANY), vectors(seed, held + 1)
    ids = np.random.default_rng(seed).permutation(1000)[:held].tolist()
    for start in range(0, held, 7):
        shop.put(named(ids[start : start + 7]), stored[start : start + 7][: len(ids[start : start + 7])])
    asked = data.draw(st.lists(st.sampled_from([*ids, 5000]), unique=True))
    k, query = data.draw(st.integers(0, held + 5)), stored[held]
    known = dict(zip(ids, stored, strict=False))
    exact = [
        (one, round(float(known[one].astype(float) @ query.astype(float)), 6))
        for one in asked
        if one in known
    ]
    wanted = sorted(exact, key=lambda one: (-one[1], one[0]))[:k]
    assert [(hit.image_id, hit.score) for hit in shop.nearest(query, named(asked), k)] == wanted
    taken = shop.take(named(asked))
    assert all(
        (row == known.get(one, np.zeros(DIMENSION))).all() for one, row in zip(asked, taken, strict=True)
    )


def test_a_vector_counts_for_its_revision_and_older_ones() -> None:
    shop, (old, new) = ShopVectors(DIMENSION, MANY), vectors(1, 2)
    shop.put(named([7, 3], revision=1), np.stack([old, old]))
    assert shop.missing(named([3, 7, 9], revision=2)).ids.tolist() == [3, 7, 9]
    assert shop.nearest(old, named([3, 7], revision=2), 5) == []
    shop.put(named([7], revision=2), new[None])
    assert shop.missing(named([3, 7], revision=2)).ids.tolist() == [3]
    np.testing.assert_array_equal(shop.take(named([7, 3], revision=1)), np.stack([new, old]))


def test_the_longest_unused_shop_goes_first() -> None:
    cache = VectorCache(3 * 64 * VECTOR_BYTES)

    def fill(shop_id: int, count: int = 64) -> ShopVectors:
        shop = cache.of_shop(VERSION, shop_id)
        cache.make_room(shop, named(list(range(count))))
        shop.put(named(list(range(count))), vectors(shop_id, count))
        return shop

    shops = [fill(shop_id) for shop_id in (1, 2, 3)]
    assert cache.of_shop(VERSION, 1) is shops[0]
    fill(4)
    assert cache.of_shop(VERSION, 1) is shops[0]
    assert cache.of_shop(VERSION, 3) is shops[2]
    assert cache.of_shop(VERSION, 2) is not shops[1]


@pytest.mark.parametrize("count", [64, 500])
def test_a_shop_that_is_too_large_begins_anew(count: int) -> None:
    cache = VectorCache(100 * VECTOR_BYTES)
    shop = cache.of_shop(VERSION, 1)
    shop.put(named(list(range(64))), vectors(1, 64))
    new = named(list(range(1000, 1000 + count)))
    assert len(cache.make_room(shop, new)) == count
    assert shop.nbytes == count * VECTOR_BYTES, "it holds nothing, and expects these"
    shop.put(new, vectors(1, count))
    assert len(shop.missing(named(list(range(1000 + count))))) == 1000


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 400),
    calls=st.lists(
        st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 120), st.integers(0, 500)), min_size=1
    ),
)
def test_no_more_is_kept_than_is_allowed_or_one_call_needs(
    rows: int, calls: list[tuple[int, int, int, int]]
) -> None:
    cache = VectorCache(rows * VECTOR_BYTES)
    for version, shop_id, count, start in calls:
        ref = VersionRef(version, f"{version}@1", version * DIMENSION)
        shop, asked = cache.of_shop(ref, shop_id), named(list(range(start, start + count)))
        missing = cache.make_room(shop, asked)
        expected = cache.nbytes
        shop.put(missing, np.tile(vectors(1, len(missing)), version))
        assert len(shop.missing(asked)) == 0
        assert cache.nbytes <= expected <= max(rows, version * count) * VECTOR_BYTES


def test_a_version_does_not_answer_with_anothers_vectors() -> None:
    cache, other = VectorCache(100 * VECTOR_BYTES), VersionRef(2, "b@1", DIMENSION)
    cache.of_shop(VERSION, 1).put(named([7]), vectors(1, 1))
    assert len(cache.of_shop(other, 1).missing(named([7]))) == 1
    assert len(cache.of_shop(VERSION, 1).missing(named([7]))) == 0


def test_shops_that_are_loaded_at_once_do_not_take_the_same_room() -> None:
    cache = VectorCache(100 * VECTOR_BYTES)
    for shop_id in (1, 2):
        cache.make_room(cache.of_shop(VERSION, shop_id), named(list(range(80))))
    assert cache.nbytes == 80 * VECTOR_BYTES


def test_a_shop_that_nobody_uses_goes_after_a_while() -> None:
    cache = VectorCache(100 * VECTOR_BYTES)
    unused, used = cache.of_shop(VERSION, 1), cache.of_shop(VERSION, 2)
    unused.used_at -= IDLE_S + 1
    assert cache.of_shop(VERSION, 2) is used
    assert cache.of_shop(VERSION, 1) is not unused


def test_a_call_that_goes_on_after_it_was_cancelled_disturbs_no_other() -> None:
    class Slow(ShopVectors):
        def _make_room(self, rows: int) -> None:
            time.sleep(0.02)
            super()._make_room(rows)

    shop, stored = Slow(DIMENSION, MANY), vectors(1, 9)
    parts = [slice(0, 3), slice(3, 6), slice(6, 9)]
    threads = [
        threading.Thread(target=shop.put, args=(named(list(range(9))[part]), stored[part])) for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(shop.take(named(list(range(9)))), stored)
