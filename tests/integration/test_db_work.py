"""The queue's guarantees, on a real PostgreSQL. Claims span shops, so the module has its own database."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from db import images, work
from db.session import Database
from db.work import Claim
from models.image import Image, ImageStatus
from tests.services import Photos, create_shop, photo_columns


@pytest.fixture
def database(own_database: Database) -> Database:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


def claim(database: Database, limit: int = 100, lease_s: float = 60, max_attempts: int = 5) -> Claim:
    with database.transaction() as session:
        return work.claim_embedding(session, limit=limit, lease_s=lease_s, max_attempts=max_attempts)


def claim_deleting(database: Database) -> Claim:
    with database.transaction() as session:
        return work.claim_deleting(session, limit=100, lease_s=60)


def ids(claim: Claim) -> list[int]:
    return [photo.image_id for photo in claim.photos]


def finish(database: Database, claim: Claim) -> set[int]:
    with database.transaction() as session:
        return work.finish_embedded(session, claim.token, ids(claim))


def release(database: Database, claim: Claim, *, delay_s: float = 0, count_attempt: bool = True) -> None:
    with database.transaction() as session:
        work.release(
            session, claim.token, ids(claim), delay_s=delay_s, error="it hurts", count_attempt=count_attempt
        )


def expire(image: Image) -> None:
    image.lease_until = datetime.now(UTC) - timedelta(seconds=1)


def replace(image: Image) -> None:
    images.replace_photo(image, photo_columns("b" * 64))


def test_a_claimed_photo_is_leased_and_then_embedded(database: Database, photos: Photos) -> None:
    wanted = photos.add(3)
    held = claim(database)
    assert ids(held) == wanted
    assert [photo.shop_id for photo in held.photos] == [photos.shop_id] * 3
    row = photos.read(wanted[0])
    assert (row.status, row.attempts, row.lease_token) == (ImageStatus.PROCESSING, 1, held.token)
    assert row.lease_until is not None
    assert 55 < (row.lease_until - datetime.now(UTC)).total_seconds() <= 60
    assert ids(claim(database)) == []

    assert finish(database, held) == set(wanted)
    row = photos.read(wanted[0])
    assert (row.status, row.attempts, row.lease_token, row.lease_until) == (
        ImageStatus.EMBEDDED,
        0,
        None,
        None,
    )
    assert row.embedded_at is not None
    assert ids(claim(database)) == []


def test_concurrent_claims_never_share_a_photo(database: Database, photos: Photos) -> None:
    wanted = photos.add(200)
    start = threading.Barrier(4)
    taken: list[int] = []

    def worker() -> None:
        start.wait()
        while len(taken) < 200:
            taken.extend(ids(claim(database, limit=7)))

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert Counter(taken) == Counter(wanted)


def test_a_claim_passes_over_rows_that_another_transaction_locks(database: Database, photos: Photos) -> None:
    wanted = photos.add(20)
    with database.transaction() as session:
        first = work.claim_embedding(session, limit=8, lease_s=60, max_attempts=5)
        second = claim(database, limit=8)
    assert sorted(ids(first) + ids(second)) == wanted[:16]


def test_an_expired_lease_is_claimed_again_and_the_first_holder_loses(
    database: Database, photos: Photos
) -> None:
    wanted = photos.add(2)
    first = claim(database)
    photos.change(expire, *wanted)
    second = claim(database)
    assert ids(second) == wanted
    with database.transaction() as session:
        assert work.renew(session, first.token, wanted, 30) == set()
        assert work.renew(session, second.token, wanted, 30) == set(wanted)
        work.finish_failed(session, first.token, wanted[0], "too late")
    release(database, first)
    assert finish(database, first) == set()
    assert photos.read(wanted[0]).status is ImageStatus.PROCESSING
    assert photos.read(wanted[0]).attempts == 2
    assert finish(database, second) == set(wanted)


def test_an_expired_lease_that_nobody_took_may_still_finish(database: Database, photos: Photos) -> None:
    wanted = photos.add(1)
    held = claim(database)
    photos.change(expire, *wanted)
    assert finish(database, held) == set(wanted)


def test_a_photo_replaced_meanwhile_is_embedded_again(database: Database, photos: Photos) -> None:
    replaced, untouched = photos.add(2)
    held = claim(database)
    photos.change(replace, replaced)
    assert ids(claim(database)) == [], "the old work still holds the photo"
    assert finish(database, held) == {untouched}
    again = claim(database)
    assert [(photo.image_id, photo.photo_sha256) for photo in again.photos] == [(replaced, "b" * 64)]
    assert photos.read(replaced).attempts == 1
    assert finish(database, again) == {replaced}


def test_a_photo_replaced_while_its_worker_died_is_claimed_after_the_lease(
    database: Database, photos: Photos
) -> None:
    wanted = photos.add(1)
    claim(database)
    photos.change(replace, *wanted)
    photos.change(expire, *wanted)
    assert ids(claim(database)) == wanted


def test_a_photo_deleted_meanwhile_stays_deleted(database: Database, photos: Photos) -> None:
    (gone,) = photos.add(1)
    held = claim(database)
    with database.transaction() as session:
        assert images.mark_deleting(session, photos.shop_id, gone)
        assert not images.mark_deleting(session, photos.shop_id, gone)
    assert ids(claim_deleting(database)) == [], "the embedding task may still write its vector"
    assert finish(database, held) == set()
    deletion = claim_deleting(database)
    assert ids(deletion) == [gone]
    assert ids(claim_deleting(database)) == []
    with database.transaction() as session:
        assert work.finish_deleted(session, "0" * 32, [gone]) == 0
        assert work.finish_deleted(session, deletion.token, [gone]) == 1
        assert work.finish_deleted(session, deletion.token, [gone]) == 0
        assert session.get(Image, gone) is None


def test_a_released_deletion_stays_a_deletion(database: Database, photos: Photos) -> None:
    (gone,) = photos.add(1, status=ImageStatus.DELETING)
    release(database, claim_deleting(database))
    assert photos.read(gone).status is ImageStatus.DELETING
    assert ids(claim_deleting(database)) == [gone]


def test_shops_take_turns(database: Database) -> None:
    crowd = Photos(database, create_shop(database))
    crowd.add(300)
    small = [Photos(database, create_shop(database)) for _ in range(3)]
    for shop in small:
        shop.add(4)
    counts = Counter(photo.shop_id for photo in claim(database, limit=12).photos)
    assert counts == {shop.shop_id: 3 for shop in [crowd, *small]}
    counts = Counter(photo.shop_id for photo in claim(database, limit=12).photos)
    assert counts == {crowd.shop_id: 9} | {shop.shop_id: 1 for shop in small}


def test_every_one_of_many_shops_gets_its_turn(database: Database) -> None:
    shops = [create_shop(database) for _ in range(work.MAX_SHOPS + 20)]
    for shop_id in shops:
        Photos(database, shop_id).add(1)
    served: set[int] = set()
    while found := claim(database, limit=32).photos:
        served.update(photo.shop_id for photo in found)
    assert served == set(shops)


def test_a_photo_whose_workers_always_die_fails_with_a_reason(database: Database, photos: Photos) -> None:
    (poison,) = photos.add(1)
    for _ in range(3):
        assert ids(claim(database, max_attempts=3)) == [poison]
        photos.change(expire, poison)
    assert ids(claim(database, max_attempts=3)) == []
    row = photos.read(poison)
    assert (row.status, row.lease_token, row.lease_until) == (ImageStatus.FAILED, None, None)
    assert row.error is not None
    assert row.error.startswith("gave up after 3 attempts: ")
    with database.transaction() as session:
        assert images.retry(session, photos.shop_id, poison)
        assert not images.retry(session, photos.shop_id, poison)
    assert ids(claim(database)) == [poison]
    assert photos.read(poison).attempts == 1


def test_an_outage_is_waited_for_and_not_counted(database: Database, photos: Photos) -> None:
    (waiting,) = photos.add(1)
    release(database, claim(database), delay_s=30, count_attempt=False)
    row = photos.read(waiting)
    assert (row.status, row.attempts, row.lease_token, row.error) == (
        ImageStatus.PENDING,
        0,
        None,
        "it hurts",
    )
    assert ids(claim(database)) == []
    photos.change(expire, waiting)
    release(database, claim(database))
    assert photos.read(waiting).attempts == 1
    assert finish(database, claim(database)) == {waiting}
    assert photos.read(waiting).error is None


def test_a_release_keeps_what_the_shop_did_meanwhile(database: Database, photos: Photos) -> None:
    replaced, deleted = photos.add(2)
    held = claim(database)
    photos.change(replace, replaced)
    with database.transaction() as session:
        images.mark_deleting(session, photos.shop_id, deleted)
    release(database, held, count_attempt=False)
    assert (photos.read(replaced).attempts, photos.read(replaced).error) == (0, None)
    assert ids(claim(database)) == [replaced]
    assert ids(claim_deleting(database)) == [deleted]


def test_a_failure_is_final_unless_the_photo_was_replaced(database: Database, photos: Photos) -> None:
    broken, replaced = photos.add(2)
    held = claim(database)
    photos.change(replace, replaced)
    with database.transaction() as session:
        for image_id in (broken, replaced):
            work.finish_failed(session, held.token, image_id, "x" * 5000)
    assert photos.read(broken).status is ImageStatus.FAILED
    assert photos.read(broken).error == "x" * work.MAX_ERROR_CHARACTERS
    assert ids(claim(database)) == [replaced]


def test_a_late_write_is_repaired(database: Database, photos: Photos) -> None:
    embedded, busy, deleting, gone = photos.add(4)
    late = claim(database)
    photos.change(expire, *ids(late))
    winner = claim(database)
    with database.transaction() as session:
        work.finish_embedded(session, winner.token, [embedded])
        work.finish_embedded(session, winner.token, [deleting, gone])
        images.mark_deleting(session, photos.shop_id, deleting)
        session.delete(session.get_one(Image, gone))
    deletion = claim_deleting(database)
    with database.transaction() as session:
        assert work.touch_lost(session, ids(late), late.token) == {gone}
        assert work.finish_deleted(session, deletion.token, [deleting]) == 0, "it has to start over"
    assert ids(claim_deleting(database)) == [deleting]
    assert finish(database, Claim(winner.token, [p for p in winner.photos if p.image_id == busy])) == set()
    assert ids(claim(database)) == [embedded, busy]


def test_the_backlog_is_counted(database: Database, photos: Photos) -> None:
    with database.transaction() as session:
        assert work.backlog(session) == work.Backlog(0, 0, 0, 0, 0.0)
    photos.add(2, updated_at=datetime.now(UTC) - timedelta(seconds=90))
    photos.add(3, status=ImageStatus.EMBEDDED)
    photos.add(1, status=ImageStatus.DELETING)
    photos.add(4, status=ImageStatus.FAILED)
    claim(database, limit=1)
    with database.transaction() as session:
        found = work.backlog(session)
        counts = images.counts_by_status(session, photos.shop_id)
    assert (found.pending, found.processing, found.deleting, found.failed) == (1, 1, 1, 4)
    assert 89 < found.oldest_pending_age_s < 120
    assert counts == dict(zip(ImageStatus, (1, 1, 3, 4, 1), strict=True))
