"""Which photos a version of the index lacks, and whose they are meanwhile."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import text

from db import embeddings, item_vectors, reindexing, work
from db.reindexing import START
from db.session import Database
from models.image import Image, ImageStatus
from tests.services import Photos, create_shop

KEY = "b@1"


@pytest.fixture
def photos(own_database: Database) -> Photos:
    """Of one shop, in a database that has no other photos."""
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM image"))
    return Photos(own_database, create_shop(own_database))


def lacking(database: Database, limit: int = 100) -> list[int]:
    """Of all pages, as a run walks through them."""
    found: list[int] = []
    place = START
    with database.transaction() as session:
        while (page := reindexing.page(session, KEY, place, limit)).read:
            found += page.image_ids
            place = page.last
    return found


def fill(database: Database, image_ids: list[int]) -> list[int]:
    with database.transaction() as session:
        claim = reindexing.claim(session, KEY, image_ids, 60)
    with database.transaction() as session:
        ours = reindexing.lock_unchanged(session, claim.token, claim.photos)
        rows = [(one.image_id, one.photo_sha256, np.ones(4, np.float32) / 2) for one in ours]
        embeddings.save(session, KEY, rows)
        work.release_metadata(session, claim.token, [one.image_id for one in claim.photos], 0)
    return [one.image_id for one in ours]


def test_each_photo_is_lacking_until_its_present_file_has_a_vector(photos: Photos) -> None:
    database = photos.database
    ids = photos.add(7, status=ImageStatus.EMBEDDED)
    photos.add(2, status=ImageStatus.FAILED)
    photos.add(2)
    assert lacking(database, limit=3) == ids
    assert fill(database, ids[:4]) == ids[:4]
    assert fill(database, ids[:5]) == ids[4:5]
    assert lacking(database, limit=2) == ids[5:]

    def replace(image: Image) -> None:
        image.photo_sha256 = "e" * 64

    photos.change(replace, ids[0])
    assert lacking(database) == [ids[0], *ids[5:]]


def test_where_text_has_a_weight_the_item_counts(photos: Photos) -> None:
    database = photos.database
    ids = photos.add(2, status=ImageStatus.EMBEDDED)
    fill(database, ids)
    with database.transaction() as session:
        session.execute(text("UPDATE shop SET text_weight = 0.5 WHERE id = :id"), {"id": photos.shop_id})
        item_vectors.save_items(session, KEY, {ids[0]: np.ones(4, np.float32) / 2})
    assert lacking(database) == ids[1:]
    with database.transaction() as session:
        assert reindexing.forget_items(session, KEY, ids[0], ids[1]) == 0
        assert reindexing.forget_items(session, KEY, ids[0] - 1, ids[1]) == 1
    assert lacking(database) == ids


def test_what_another_worker_holds_or_a_shop_gives_up_is_left_alone(photos: Photos) -> None:
    database = photos.database
    ids = photos.add(4, status=ImageStatus.EMBEDDED)
    with database.transaction() as session:
        first = reindexing.claim(session, KEY, ids[:2], 60)
        assert {one.image_id for one in first.photos} == set(ids[:2])
    with database.transaction() as session:
        second = reindexing.claim(session, KEY, ids, 60)
        assert [one.image_id for one in second.photos] == ids[2:]

    def delete(image: Image) -> None:
        image.status = ImageStatus.DELETING

    photos.change(delete, ids[0])
    with database.transaction() as session:
        ours = reindexing.lock_unchanged(session, first.token, first.photos)
        assert [one.image_id for one in ours] == [ids[1]]
        assert reindexing.lock_unchanged(session, second.token, first.photos) == []
        work.release_metadata(session, first.token, ids[:2], 0)
        session.execute(text("UPDATE shop SET status = 'deleting' WHERE id = :id"), {"id": photos.shop_id})
    with database.transaction() as session:
        assert reindexing.claim(session, KEY, ids, 60).photos == []


def test_only_what_still_lacks_a_vector_fails_as_unreadable(photos: Photos) -> None:
    database = photos.database
    ids = photos.add(3, status=ImageStatus.EMBEDDED)
    fill(database, ids[:1])
    with database.transaction() as session:
        assert reindexing.fail_unreadable(session, KEY, ids[:2], "The stored photo is gone.") == 1
        assert reindexing.count_embedded(session) == 2
        assert reindexing.forget_vectors(session, KEY, 0, reindexing.last_image_id(session)) == 1
    assert photos.read(ids[1]).error == "The stored photo is gone."
    assert lacking(database) == [ids[0], ids[2]]
