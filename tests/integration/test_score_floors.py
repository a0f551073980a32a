"""The queue of score floors and what fills it, on a real PostgreSQL; a matrix stands for the index."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, text, update
from sqlmodel import col

from configs.serving import IndexerArgs, TagArgs
from db import embeddings, score_floors, work
from db.media import MediaStore
from db.score_floors import ClaimedFloor
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.errors import DependencyUnavailable
from models.image import ImageStatus
from models.score_floor import ScoreFloor
from models.search import Hit
from models.shop import Shop, ShopStatus
from serve_app import score_floor
from serve_app.index_parts import IndexingParts, IndexParts
from serve_app.indexing import delete_claim, embed_claim
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders
from serve_app.score_floor import FloorCalibration
from tests.fakes import FakeTextEmbedder, vector_of
from tests.services import Photos, create_shop, make_live

MODEL = "some/model@1"
QUIET_S, AT_MOST_S = 5.0, 60.0


@pytest.fixture
def database(own_database: Database) -> Database:
    make_live(own_database, 1, MODEL)
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


@dataclass
class MatrixIndex:
    """One shop's vectors; deletes photos and files of any."""

    names: list[str] = field(default_factory=list)
    error: DependencyUnavailable | None = None

    def query(self, _: int, __: int, vectors: NDArray[np.float32], k: int) -> list[list[Hit]]:
        if self.error is not None:
            raise self.error
        scores = [[float(asked @ vector_of(name)) for name in self.names] for asked in vectors]
        return [sorted((Hit(n, s) for n, s in enumerate(row)), key=lambda h: -h.score)[:k] for row in scores]

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None: ...

    def delete(self, version_id: int, shop_id: int, image_ids: Sequence[int]) -> None: ...

    def delete_tree(self, prefix: str) -> None: ...


def note(database: Database, *shop_ids: int) -> None:
    with database.transaction() as session:
        score_floors.note_change(session, MODEL, shop_ids)


def claim(database: Database, lease_s: float = 60) -> ClaimedFloor | None:
    with database.transaction() as session:
        return score_floors.claim(session, MODEL, quiet_s=QUIET_S, at_most_s=AT_MOST_S, lease_s=lease_s)


def claimed(database: Database) -> ClaimedFloor:
    found = claim(database)
    assert found is not None
    return found


def finish(database: Database, one: ClaimedFloor, floor: float | None) -> bool:
    with database.transaction() as session:
        return score_floors.finish(session, one, floor)


def row(database: Database, shop_id: int) -> ScoreFloor:
    with database.transaction() as session:
        found = score_floors.find(session, shop_id, MODEL)
        assert found is not None
        return found


def age(database: Database, column: str, by_s: float) -> None:
    """Let some time pass for that column of all floors."""
    passed = getattr(ScoreFloor, column) - timedelta(seconds=by_s)
    with database.transaction() as session:
        session.execute(update(ScoreFloor).values({column: passed}))


def test_a_floor_waits_until_its_catalogue_rests(database: Database, shop_id: int) -> None:
    note(database, shop_id)
    assert claim(database) is None
    age(database, "changed_at", QUIET_S)
    assert claimed(database).shop_id == shop_id
    assert claim(database) is None, "it is leased"


def test_a_catalogue_that_never_rests_is_not_waited_for_for_ever(database: Database, shop_id: int) -> None:
    note(database, shop_id)
    age(database, "behind_since", AT_MOST_S)
    note(database, shop_id)
    one = claimed(database)
    note(database, shop_id)
    assert finish(database, one, 0.2)
    assert claim(database) is None, "the time counts from the last computation"
    age(database, "behind_since", AT_MOST_S)
    assert claimed(database).revision == 3


def test_what_changes_during_a_computation_leaves_the_floor_behind(database: Database, shop_id: int) -> None:
    note(database, shop_id)
    age(database, "changed_at", QUIET_S)
    one = claimed(database)
    note(database, shop_id)
    assert finish(database, one, 0.25)
    found = row(database, shop_id)
    assert (found.floor, found.computed_revision, found.revision) == (0.25, 1, 2)
    assert found.computed_at is not None
    age(database, "changed_at", QUIET_S)
    again = claimed(database)
    assert finish(database, again, None)
    age(database, "changed_at", 1000)
    assert claim(database) is None
    assert row(database, shop_id).floor is None


def test_a_lost_lease_stores_nothing_and_a_dead_one_is_claimed_again(
    database: Database, shop_id: int
) -> None:
    note(database, shop_id)
    age(database, "changed_at", QUIET_S)
    late = claimed(database)
    age(database, "lease_until", 61)
    winner = claimed(database)
    assert not finish(database, late, 0.9)
    assert finish(database, winner, 0.3)
    assert row(database, shop_id).floor == 0.3


def test_a_shop_that_goes_away_holds_nobody_up(database: Database, shop_id: int) -> None:
    other = create_shop(database)
    note(database, shop_id)
    age(database, "behind_since", 1)
    note(database, other, 2**31 - 1)
    age(database, "changed_at", QUIET_S)
    with database.transaction() as session:
        session.execute(update(Shop).where(col(Shop.id) == shop_id).values(status=ShopStatus.DELETING))
    assert claimed(database).shop_id == other
    assert claim(database) is None
    with database.transaction() as session:
        session.execute(text("DELETE FROM shop WHERE id = :id"), {"id": shop_id})
        assert score_floors.find(session, shop_id, MODEL) is None


def waiting(database: Database) -> int:
    """Transactions in this database that wait for a lock."""
    here = "datname = current_database() AND wait_event_type = 'Lock'"
    with database.transaction() as session:
        return session.scalars(text(f"SELECT count(*) FROM pg_stat_activity WHERE {here}")).one()


def test_workers_that_finish_photos_of_the_same_shops_do_not_deadlock(database: Database) -> None:
    """The first waits for the second's shop before the second comes: in any other order they would block."""
    low, high = create_shop(database), create_shop(database)
    note(database, low, high)
    failures: list[BaseException] = []

    def finish_photos(*shop_ids: int) -> None:
        try:
            note(database, *shop_ids)
        except BaseException as error:  # noqa: BLE001 - reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=finish_photos, args=pair) for pair in ((high, low), (low, high))]
    with database.transaction() as session:
        session.execute(text("SELECT FROM score_floor WHERE shop_id = :id FOR UPDATE"), {"id": high})
        for already, thread in enumerate(threads):
            thread.start()
            deadline = time.monotonic() + 10
            while waiting(database) == already and time.monotonic() < deadline:
                time.sleep(0.01)
        assert waiting(database) == 2
    for thread in threads:
        thread.join()
    assert failures == []
    assert [row(database, shop_id).revision for shop_id in (low, high)] == [3, 3]


def judge_of(database: Database) -> Judge:
    return Judge(database, MODEL, 20.0, TagArgs(), 0.98)


def parts(database: Database, index: MatrixIndex) -> IndexingParts:
    """For photos whose vectors are known: no file is read."""
    return IndexingParts(
        database,
        cast(VectorStore, index),
        1,
        MODEL,
        IndexerArgs(retry_delay_s=30),
        judge_of(database),
        media=cast(MediaStore, index),
        geometry=cast(ImageGeometry, None),
        max_pixels=1,
    )


def test_the_index_gaining_and_losing_photos_raises_the_revision(database: Database, photos: Photos) -> None:
    (image_id,) = photos.add(1, photo_sha256="a" * 64)
    with database.transaction() as session:
        embeddings.save(session, MODEL, [(image_id, "a" * 64, np.ones(4, np.float32))])
        embedding = work.claim_embedding(session, limit=10, lease_s=60, max_attempts=5)
    all_parts, nobody = parts(database, MatrixIndex()), BulkEmbedders(*cast(Any, (None, None)))
    assert embed_claim(all_parts, nobody, embedding) == 1
    assert row(database, photos.shop_id).revision == 1
    assert embed_claim(all_parts, nobody, embedding) == 0, "its lease is over"
    photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), image_id)
    with database.transaction() as session:
        deletion = work.claim_deleting(session, limit=10, lease_s=60)
    assert delete_claim(all_parts, deletion) == 1
    assert row(database, photos.shop_id).revision == 2
    assert delete_claim(all_parts, deletion) == 0
    assert row(database, photos.shop_id).revision == 2


async def calibrated(
    database: Database, index: MatrixIndex, embedder: FakeTextEmbedder, calibration: Any = None
) -> FloorCalibration:
    """One due floor, computed."""
    args = IndexerArgs(retry_delay_s=30)
    parts = IndexParts(database, cast(VectorStore, index), 1, MODEL, args, judge_of(database))
    calibration = calibration or FloorCalibration(parts, embedder)
    age(database, "changed_at", QUIET_S)
    await calibration.calibrate(claimed(database))
    return cast(FloorCalibration, calibration)


async def test_the_floor_parts_the_shops_own_names_from_the_rest(database: Database, photos: Photos) -> None:
    names = [f"garment{number} fabric{number}" for number in range(20)]
    for name in names:
        photos.add(1, name=name, status=ImageStatus.EMBEDDED)
    note(database, photos.shop_id)
    await calibrated(database, MatrixIndex(names), FakeTextEmbedder())
    floor = row(database, photos.shop_id).floor
    assert floor is not None
    scores = np.array(
        [[vector_of(prompt) @ vector_of(name) for name in names] for prompt in score_floor.PROMPTS]
    )
    assert np.median(scores.max(axis=1)) < floor < 1.0


async def test_too_few_photos_have_no_floor(database: Database, photos: Photos) -> None:
    names = [f"garment{number}" for number in range(score_floor.MIN_PHOTOS - 1)]
    for name in names:
        photos.add(1, name=name, status=ImageStatus.EMBEDDED)
    photos.add(5, name="not in the index yet")
    note(database, photos.shop_id)
    await calibrated(database, MatrixIndex(names), FakeTextEmbedder())
    found = row(database, photos.shop_id)
    assert (found.floor, found.computed_revision) == (None, 1)


async def test_an_outage_puts_the_floor_off(database: Database, photos: Photos) -> None:
    photos.add(20, status=ImageStatus.EMBEDDED)
    note(database, photos.shop_id)
    error = DependencyUnavailable("It does not answer.")
    for index, embedder in (
        (MatrixIndex(["a"], error), FakeTextEmbedder()),
        (MatrixIndex(["a"]), FakeTextEmbedder(error)),
    ):
        await calibrated(database, index, embedder)
        found = row(database, photos.shop_id)
        assert (found.computed_revision, found.lease_token) == (0, None)
        assert claim(database) is None
        with database.transaction() as session:
            waits_s = session.scalar(text("SELECT extract(epoch FROM lease_until - now()) FROM score_floor"))
            session.execute(update(ScoreFloor).values(lease_until=func.now() - timedelta(seconds=1)))
        assert waits_s is not None
        assert 25 < waits_s <= 30
    await calibrated(database, MatrixIndex(["a"]), FakeTextEmbedder())
    assert row(database, photos.shop_id).computed_revision == 1
