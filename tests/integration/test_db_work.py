"""The queue's guarantees, on a real PostgreSQL. Claims span shops, so the module has its own database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from db import images, late_writes, turns, work
from db.late_writes import Late
from db.session import Database
from db.work import Claim
from models.image import Image, ImageStatus
from models.shop import Shop
from tests.services import Photos, create_shop, make_live, photo_columns

VERSION = 7


@pytest.fixture
def database(own_database: Database) -> Database:
    make_live(own_database, VERSION, "some/model@1")
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


def claim(database: Database, limit: int = 100, lease_s: float = 60, max_attempts: int = 5) -> Claim:
    with database.transaction() as session:
        return work.claim_embedding(session, limit=limit, lease_s=lease_s, max_attempts=max_attempts)


def claim_metadata(database: Database, limit: int = 100) -> Claim:
    with database.transaction() as session:
        return work.claim_metadata(session, limit=limit, lease_s=60)


def claim_deleting(database: Database) -> Claim:
    with database.transaction() as session:
        return work.claim_deleting(session, limit=100, lease_s=60)


def ids(claim: Claim) -> list[int]:
    return [photo.image_id for photo in claim.photos]


def finish(database: Database, claim: Claim) -> set[int]:
    with database.transaction() as session:
        return work.finish_embedded(session, claim.token, claim.photos, VERSION)


def finish_metadata(database: Database, claim: Claim) -> set[int]:
    with database.transaction() as session:
        return work.finish_metadata(session, claim.token, claim.photos)


def release(database: Database, claim: Claim, *, delay_s: float = 0, count_attempt: bool = True) -> None:
    with database.transaction() as session:
        work.release(
            session, claim.token, ids(claim), delay_s=delay_s, error="it hurts", count_attempt=count_attempt
        )


def expire(image: Image) -> None:
    image.lease_until = datetime.now(UTC) - timedelta(seconds=1)


def replace(image: Image) -> None:
    images.replace_photo(image, photo_columns("b" * 64))


MANY_PHOTOS = """
    INSERT INTO image (shop_id, sku, name, photo_key, photo_sha256, photo_bytes, photo_width_px,
                       photo_height_px, photo_type, status, attempts, item_weight)
    SELECT :shop_id, number::text, 'Dress', '', '', 1, 1, 1, 'image/jpeg', 'embedded', 0, 0.25
      FROM generate_series(1, 3000) AS number
"""
ROWS_READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'image'"


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
    shops = [create_shop(database) for _ in range(turns.MAX_SHOPS + 20)]
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
        work.finish_embedded(session, winner.token, [p for p in winner.photos if p.image_id != busy], VERSION)
        images.mark_deleting(session, photos.shop_id, deleting)
        session.delete(session.get_one(Image, gone))
    deletion = claim_deleting(database)
    with database.transaction() as session:
        work.touch_lost(session, ids(late), late.token)
        written = late_writes.find(session, late.token, dict.fromkeys(ids(late), photos.shop_id))
        assert written == Late({photos.shop_id: [gone]}, set())
        assert work.finish_deleted(session, deletion.token, [deleting]) == 0, "it has to start over"
    assert ids(claim_deleting(database)) == [deleting]
    assert finish(database, Claim(winner.token, [p for p in winner.photos if p.image_id == busy])) == set()
    assert ids(claim(database)) == [embedded, busy]


def indexed(photos: Photos, *categories: int | None) -> list[int]:
    """Photos in the index, each with its category."""
    found = [photos.add(1, status=ImageStatus.EMBEDDED, category_id=category)[0] for category in categories]
    assert claim_metadata(photos.database).photos == []
    return found


def use_category(category_id: int | None) -> Callable[[Image], None]:
    return lambda image: setattr(image, "category_id", category_id)


def test_every_change_of_a_term_is_counted(database: Database, photos: Photos) -> None:
    (image_id,) = indexed(photos, 1)
    statements = (
        "UPDATE image SET category_id = 2",
        "UPDATE image SET style_id = 1, age_group_id = 1",
        "UPDATE image SET style_id = NULL",
    )
    for number, statement in enumerate(statements, start=1):
        with database.transaction() as session:
            session.execute(text(statement))
            session.execute(text("UPDATE image SET category_id = 2, sku = 'other'"))
        assert photos.read(image_id).metadata_revision == number


def test_changed_terms_are_claimed_and_written_once(database: Database, photos: Photos) -> None:
    first, second, third = indexed(photos, 1, 1, 1)
    photos.change(use_category(2), first)
    photos.change(use_category(None), third)
    held = claim_metadata(database)
    found = [(photo.image_id, photo.terms.category_id, photo.metadata_revision) for photo in held.photos]
    assert found == [(first, 2, 1), (third, None, 1)]
    assert photos.read(first).status is ImageStatus.EMBEDDED
    assert ids(claim_metadata(database)) == []
    assert finish_metadata(database, held) == {first, third}
    row = photos.read(first)
    assert (row.status, row.indexed_revision, row.lease_token) == (ImageStatus.EMBEDDED, 1, None)
    assert ids(claim_metadata(database)) == []
    assert photos.read(second).indexed_revision == 0


def test_a_change_while_its_predecessor_is_written_is_written_too(database: Database, photos: Photos) -> None:
    (image_id,) = indexed(photos, 1)
    photos.change(use_category(2), image_id)
    held = claim_metadata(database)
    photos.change(use_category(3), image_id)
    assert ids(claim_metadata(database)) == [], "the photo is held"
    finish_metadata(database, held)
    assert [photo.terms.category_id for photo in claim_metadata(database).photos] == [3]


def test_a_late_write_of_terms_is_repeated(database: Database, photos: Photos) -> None:
    (image_id,) = indexed(photos, 1)
    photos.change(use_category(2), image_id)
    late = claim_metadata(database)
    photos.change(expire, image_id)
    winner = claim_metadata(database)
    assert finish_metadata(database, winner) == {image_id}
    assert finish_metadata(database, late) == set()
    again = claim_metadata(database)
    assert [photo.metadata_revision for photo in again.photos] == [2]
    with database.transaction() as session:
        work.release_metadata(session, late.token, [image_id], 0)
    finish_metadata(database, again)
    assert ids(claim_metadata(database)) == [image_id], "a late write that failed may have happened"


def test_terms_are_written_after_an_outage(database: Database, photos: Photos) -> None:
    (image_id,) = indexed(photos, 1)
    photos.change(use_category(2), image_id)
    with database.transaction() as session:
        work.release_metadata(session, claim_metadata(database).token, [image_id], 30)
    held = claim(database)
    assert ids(held) == []
    row = photos.read(image_id)
    assert (row.status, row.error, row.attempts) == (ImageStatus.EMBEDDED, None, 0)
    assert ids(claim_metadata(database)) == [], "not before the pause is over"
    photos.change(expire, image_id)
    assert ids(claim_metadata(database)) == [image_id]


def test_a_photo_whose_terms_are_written_may_be_replaced_or_deleted(
    database: Database, photos: Photos
) -> None:
    replaced, deleted = indexed(photos, 1, 1)
    photos.change(use_category(2), replaced, deleted)
    held = claim_metadata(database)
    photos.change(replace, replaced)
    with database.transaction() as session:
        images.mark_deleting(session, photos.shop_id, deleted)
    assert (ids(claim(database)), ids(claim_deleting(database))) == ([], []), "their leases are held"
    finish_metadata(database, held)
    assert (ids(claim(database)), ids(claim_deleting(database))) == ([replaced], [deleted])


def test_an_embedding_says_which_terms_it_brought(database: Database, photos: Photos) -> None:
    unchanged, changed = photos.add(2)
    photos.change(use_category(1), unchanged)
    held = claim(database)
    assert [photo.terms.category_id for photo in held.photos] == [1, None]
    photos.change(use_category(2), changed)
    assert claim_metadata(database).photos == [], "an embedding brings the terms"
    assert finish(database, held) == {unchanged, changed}
    assert ids(claim_metadata(database)) == [changed]


def test_terms_of_many_photos_keep_no_other_shop_waiting(database: Database) -> None:
    crowd, small = (Photos(database, create_shop(database)) for _ in range(2))
    crowd.add(60, status=ImageStatus.EMBEDDED)
    (one,) = small.add(1, status=ImageStatus.EMBEDDED)
    with database.transaction() as session:
        session.execute(text("UPDATE image SET category_id = 2"))
    claims = [claim_metadata(database, limit=2) for _ in range(20)]
    assert one in [image_id for held in claims for image_id in ids(held)]
    assert all(len({photo.shop_id for photo in held.photos}) == 1 for held in claims if held.photos)


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


def test_looking_for_work_reads_no_catalogue(database: Database, shop_id: int) -> None:
    """Neither the photos that are described as they are, nor those that have the shop's new weight."""
    with database.transaction() as session:
        session.execute(text(MANY_PHOTOS), {"shop_id": shop_id})
        session.execute(
            text("UPDATE shop SET text_weight = 0.25, reindexing = true WHERE id = :id"), {"id": shop_id}
        )
    with database.transaction() as session:
        session.execute(text("ANALYZE image"))
    with database.transaction() as session:
        assert work.claim_metadata(session, limit=500, lease_s=60).photos == []
        assert session.scalars(text(ROWS_READ)).one() < 1000, "those that others left dead count, too"
    with database.transaction() as session:
        assert not session.get_one(Shop, shop_id).reindexing
