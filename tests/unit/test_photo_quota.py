"""The number of photos that a shop may store."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Thread

import pytest
from sqlalchemy.orm import Session

from db import images, photo_counts
from db.session import Database
from models.errors import QuotaExceeded
from models.image import ImageStatus
from models.shop import KeyScope
from serve_app import embed_photo, photo_quota
from serve_app.callers import Caller
from serve_app.photo_quota import MARGIN, PhotoQuota
from tests.drawings import garment
from tests.services import Photos, make_image
from tests.shop_client import assert_problem
from tests.unit.conftest import FakeService


def test_uploads_at_once_stop_exactly_at_the_quota(service: FakeService) -> None:
    shop = service.new_shop(max_photos=7)
    photo = garment()
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda number: shop.upload(photo, name=f"Photo {number}"), range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] * 7 + [429] * 13
    for answer in answers:
        if answer.status_code == 429:
            problem = assert_problem(answer, 429, "quota_exceeded")
            assert "may store 7 photos" in problem["detail"]
            assert int(answer.headers["retry-after"]) >= 1
    rows, files = service.stored(shop.shop_id)
    assert len(rows) == len(files) == 7


def test_a_deleted_photo_makes_room_at_once(service: FakeService) -> None:
    shop = service.new_shop(max_photos=1)
    first = shop.add(garment())
    assert_problem(shop.upload(garment(), name="Too many"), 429, "quota_exceeded")
    assert shop.delete(first["ImageID"]).status_code == 204
    shop.add(garment())
    assert_problem(shop.upload(garment(), name="Too many"), 429, "quota_exceeded")
    _, files = service.stored(shop.shop_id)
    assert len(files) == 2, "the deleted one's goes in the background"


def test_a_full_shop_is_refused_before_its_photo_is_looked_at(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = service.new_shop(max_photos=0)
    assert_problem(shop.upload(garment(), name="Too many"), 429, "quota_exceeded")

    def unexpected(*_: object) -> None:
        raise AssertionError("the photo was decoded")

    monkeypatch.setattr(embed_photo, "check_photo", unexpected)
    assert_problem(shop.upload(garment(), name="Too many"), 429, "quota_exceeded")


def test_changes_and_retries_need_no_room(service: FakeService) -> None:
    shop = service.new_shop(max_photos=1)
    image_id = shop.add(garment())["ImageID"]
    assert shop.patch(image_id, name="Another name").status_code == 200
    service.set_status(image_id, ImageStatus.FAILED, "broken")
    assert shop.retry(image_id).status_code == 202


def test_the_configuration_holds_where_the_row_names_no_quota(database: Database, photos: Photos) -> None:
    photos.add(2)
    caller = Caller(photos.shop_id, 1, KeyScope.SECRET)
    with database.transaction() as session:
        PhotoQuota(None).require_room(session, caller)
        PhotoQuota(2).require_room(session, caller)
        PhotoQuota(1).require_room(session, replace(caller, max_photos=2))
        with pytest.raises(QuotaExceeded):
            PhotoQuota(1).require_room(session, caller)


def test_nothing_is_counted_while_there_is_surely_room(
    database: Database, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    def counting(session: Session, shop_id: int) -> int:
        counted.append(shop_id)
        return photo_counts.living(session, shop_id)

    monkeypatch.setattr(photo_quota.photo_counts, "living_alone", counting)
    quota, caller = PhotoQuota(MARGIN + 12), Caller(photos.shop_id, 1, KeyScope.SECRET)
    for _ in range(3):
        photos.add(5)
        with database.transaction() as session:
            quota.require_room(session, caller)
    # 5 counted, 10 surely within the quota, 15 perhaps not.
    assert counted == [photos.shop_id] * 2


def test_two_processes_agree_with_a_plain_count(
    database: Database, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: a list of what is stored. Additions and deletions at random, by either process."""
    monkeypatch.setattr(photo_quota, "MARGIN", 3)
    choose, size = random.Random(7), 6
    processes = [PhotoQuota(size), PhotoQuota(size)]
    stored: list[int] = []
    refusals = 0
    for _ in range(80):
        if stored and choose.random() < 0.35:
            gone = stored.pop(choose.randrange(len(stored)))
            with database.transaction() as session:
                assert images.mark_deleting(session, photos.shop_id, gone)
            continue
        added = upload(database, photos.shop_id, choose.choice(processes))
        assert (added is None) == (len(stored) == size)
        refusals += added is None
        stored += [] if added is None else [added]
    assert refusals > 5


def test_others_wait_for_an_upload_that_counted(database: Database, photos: Photos) -> None:
    quota, answers = PhotoQuota(1), []
    with database.transaction() as session:
        images.insert(session, make_image(photos.shop_id))
        quota.require_room(session, Caller(photos.shop_id, 1, KeyScope.SECRET))
        other = Thread(target=lambda: answers.append(upload(database, photos.shop_id, PhotoQuota(1))))
        other.start()
        other.join(0.1)
        assert other.is_alive()
    other.join()
    assert answers == [None]


def upload(database: Database, shop_id: int, quota: PhotoQuota) -> int | None:
    """What an upload does to the database; None where it was refused."""
    try:
        with database.transaction() as session:
            image = images.insert(session, make_image(shop_id))
            quota.require_room(session, Caller(shop_id, 1, KeyScope.SECRET))
            return image.id
    except QuotaExceeded:
        return None
