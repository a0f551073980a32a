"""A version is filled while others take its photos over: its collection is right in the end, or is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text

from db import shop_deletion, work
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.errors import AppError, DependencyTimeout
from models.image import Image, ImageStatus
from serve_app.fill_version import Filled, fill_photos
from tests.fakes import vector_of
from tests.two_versions import Bench, two_versions


@dataclass
class SlowStore:
    """The real index, to which the first write comes late: after ``first`` happened elsewhere."""

    store: VectorStore
    first: Callable[[], object]
    fails: bool
    writes: int = 0

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        self.writes += 1
        first = self.writes == 1
        if first:
            self.first()
        self.store.upsert(version_id, shop_id, records)
        if first and self.fails:
            raise DependencyTimeout("The search index took too long to answer.")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.fixture
def bench(own_database: Database, vectors: VectorStore, tmp_path: Path) -> Bench:
    return two_versions(own_database, vectors, tmp_path)


def expire(bench: Bench, *image_ids: int) -> None:
    """Let the lease run out, so that another worker takes the photos."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    bench.photos.change(lambda image: setattr(image, "lease_until", past), *image_ids)


def fill_late(bench: Bench, ids: list[int], first: Callable[[], object], *, fails: bool) -> Filled:
    store = bench.built.store
    bench.built.store = cast(VectorStore, SlowStore(store, first, fails))
    try:
        return fill_photos(bench.built.parts, bench.built.embedders, ids)
    except AppError:
        assert fails
        return Filled()
    finally:
        bench.built.store = store


def in_built(bench: Bench) -> set[int]:
    return bench.built.store.ids(bench.built.version_id, bench.photos.shop_id)


@pytest.fixture(params=[False, True], ids=["written late", "and said to have failed"])
def fails(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def embedded(bench: Bench, count: int) -> list[int]:
    """Photos that the version being built lacks."""
    ids = [bench.add() for _ in range(count)]
    assert bench.embed(beside=False) == count
    assert bench.built.missing() == count
    return ids


def test_a_photo_that_was_removed_meanwhile_is_taken_out_again(bench: Bench, fails: bool) -> None:
    gone, kept = embedded(bench, 2)

    def remove() -> None:
        expire(bench, gone)
        assert bench.delete(gone) == 1

    filled = fill_late(bench, [gone, kept], remove, fails=fails)
    assert filled == Filled(0 if fails else 1)
    assert in_built(bench) == {kept}
    assert bench.photos.read(kept).lease_token is None


def test_a_photo_that_is_being_removed_is_removed_from_everywhere(bench: Bench, fails: bool) -> None:
    (image_id,) = embedded(bench, 1)
    deleting: list[work.Claim] = []

    def begin() -> None:
        """Another worker has taken its vectors out, and not its row yet."""
        expire(bench, image_id)
        bench.photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), image_id)
        with bench.photos.database.transaction() as session:
            deleting.append(work.claim_deleting(session, limit=1, lease_s=60))

    fill_late(bench, [image_id], begin, fails=fails)
    with bench.photos.database.transaction() as session:
        assert work.finish_deleted(session, deleting[0].token, [image_id]) == 0, "it has to start over"
    assert bench.remove() == 1
    assert in_built(bench) == set()


def test_a_photo_that_was_replaced_meanwhile_gets_its_newer_vector_back(bench: Bench, fails: bool) -> None:
    (image_id,) = embedded(bench, 1)

    def replace() -> None:
        def change(image: Image) -> None:
            image.status, image.photo_sha256 = ImageStatus.PENDING, "e" * 64

        expire(bench, image_id)
        bench.photos.change(change, image_id)
        bench.built.image.model_key = "of the new photo"
        assert bench.embed() == 1

    fill_late(bench, [image_id], replace, fails=fails)
    assert bench.describe() == 1
    bench.built.assert_has(image_id, vector_of("of the new photo"))
    kept = bench.built.store.metadata(bench.built.version_id, bench.photos.shop_id)
    assert kept[image_id]["sha256"] == "e" * 64


@pytest.mark.parametrize("rows_too", [False, True])
def test_a_shop_that_was_deleted_meanwhile_has_no_collection(
    bench: Bench, rows_too: bool, fails: bool
) -> None:
    (image_id,) = embedded(bench, 1)
    shop_id, built = bench.photos.shop_id, bench.built

    def delete_shop() -> None:
        expire(bench, image_id)
        with bench.photos.database.transaction() as session:
            session.execute(text("UPDATE shop SET status = 'deleting'"))
            assert shop_deletion.take_leases(session, shop_id)
        built.store.drop(built.version_id, shop_id)
        if rows_too:
            with bench.photos.database.transaction() as session:
                shop_deletion.delete_photos(session, shop_id)
                shop_deletion.delete_shop(session, shop_id)

    fill_late(bench, [image_id], delete_shop, fails=fails)
    assert not built.store.exists(built.version_id, shop_id)


def test_a_shop_whose_deletion_waits_for_the_fill_loses_nothing_before(bench: Bench) -> None:
    (image_id,) = embedded(bench, 1)

    def close() -> None:
        with bench.photos.database.transaction() as session:
            session.execute(text("UPDATE shop SET status = 'deleting'"))
            assert not shop_deletion.take_leases(session, bench.photos.shop_id), "it waits"

    assert fill_late(bench, [image_id], close, fails=False) == Filled(1)
    assert in_built(bench) == {image_id}, "its deletion drops it, and counts it"
    with bench.photos.database.transaction() as session:
        assert shop_deletion.take_leases(session, bench.photos.shop_id)
