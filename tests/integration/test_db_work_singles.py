"""The claims of single uploads and of backlogs. Claims span shops: a database of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from db import work
from db.session import Database
from db.work import Claim
from models.image import ImageStatus
from tests.services import Photos, create_shop

FEW = 4
BACKLOG = """
    INSERT INTO image (shop_id, sku, name, photo_key, photo_sha256, photo_bytes, photo_width_px,
                       photo_height_px, photo_type, status, attempts)
    SELECT :shop_id, number::text, 'Dress', '', '', 1, 1, 1, 'image/jpeg', 'pending', 0
      FROM generate_series(1, 3000) AS number
"""
ROWS_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'image'"


@pytest.fixture
def database(own_database: Database) -> Database:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


def claim_singles(database: Database) -> Claim:
    with database.transaction() as session:
        return work.claim_singles(session, few=FEW, lease_s=60, max_attempts=5)


def claim(database: Database, *, limit: int = 8, fresh_s: float = 0.0) -> Claim:
    with database.transaction() as session:
        return work.claim_embedding(
            session, limit=limit, lease_s=60, max_attempts=5, few=FEW, fresh_s=fresh_s
        )


def ids(claim: Claim) -> list[int]:
    return [photo.image_id for photo in claim.photos]


def rows_read(database: Database) -> int:
    with database.transaction() as session:
        session.execute(text("SELECT pg_stat_force_next_flush()"))
    with database.transaction() as session:
        return session.scalars(text(ROWS_READ)).one()


def age(photos: Photos, image_id: int, age_s: float) -> None:
    photos.change(
        lambda image: setattr(image, "updated_at", datetime.now(UTC) - timedelta(seconds=age_s)), image_id
    )


@pytest.mark.parametrize("claimed", [claim_singles, claim])
def test_no_backlog_raises_the_cost_of_a_claim(
    database: Database, photos: Photos, claimed: Callable[[Database], Claim]
) -> None:
    with database.transaction() as session:
        session.execute(text(BACKLOG), {"shop_id": photos.shop_id})
    with database.transaction() as session:
        session.execute(text("ANALYZE image"))
    single = Photos(database, create_shop(database)).add()
    before = rows_read(database)
    assert set(single) <= set(ids(claimed(database)))
    assert rows_read(database) - before < 500


def test_a_single_upload_is_claimed_alone(database: Database, photos: Photos) -> None:
    photos.add(40)
    single = Photos(database, create_shop(database)).add()
    assert ids(claim_singles(database)) == single
    assert ids(claim_singles(database)) == []


def test_photos_that_are_held_count_as_at_work(database: Database, photos: Photos) -> None:
    photos.add(FEW + 1)
    assert len(ids(claim(database, limit=FEW))) == FEW
    assert ids(claim_singles(database)) == []


def test_shops_with_few_photos_take_turns(database: Database, photos: Photos) -> None:
    others = [Photos(database, create_shop(database)) for _ in range(FEW - 1)]
    first = [shop.add(FEW)[0] for shop in (photos, *others)]
    assert sorted(ids(claim_singles(database))) == sorted(first)


def test_imported_photos_are_left_to_large_claims(database: Database, photos: Photos) -> None:
    imported = photos.add(import_job_id=1)
    uploaded = photos.add()
    assert ids(claim_singles(database)) == uploaded
    assert ids(claim(database, fresh_s=60)) == imported


def test_large_claims_leave_single_uploads_alone_while_they_are_fresh(
    database: Database, photos: Photos
) -> None:
    fresh, old, future = photos.add(3)
    age(photos, old, 61)
    age(photos, future, -3600)  # another machine's clock: nobody waits for that hour
    many = Photos(database, create_shop(database)).add(FEW + 1)
    assert sorted(ids(claim(database, fresh_s=60))) == [old, future, *many]
    assert ids(claim(database)) == [fresh]


def test_a_photo_that_kills_its_worker_takes_no_other_with_it(database: Database, photos: Photos) -> None:
    """Of a claim whose worker dies each time, one is to blame; the others are embedded in the end."""
    poison, *innocent = photos.add(4)
    deaths = 0
    for _ in range(20):
        found = claim(database)
        if poison in ids(found):
            deaths += 1
            photos.change(lambda image: setattr(image, "lease_until", image.created_at), *ids(found))
        else:
            for image_id in ids(found):
                photos.change(lambda image: setattr(image, "status", ImageStatus.EMBEDDED), image_id)
    assert deaths == 5
    assert photos.read(poison).status is ImageStatus.FAILED
    assert {photos.read(one).status for one in innocent} == {ImageStatus.EMBEDDED}
