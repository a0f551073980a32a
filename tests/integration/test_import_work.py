"""What an import makes of its rows, on a real PostgreSQL and real files; the batches run in this process."""

from __future__ import annotations

import asyncio
from asyncio import StreamWriter
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlmodel import col

from configs.serving import FetchArgs
from db import images, import_requests, import_rows, webhooks, work
from db.imports import ClaimedImport
from db.session import Database
from models.image import Image, ImageStatus
from models.import_job import ImportPhase
from models.job import Job, JobStatus
from models.shop import Shop, ShopStatus
from models.taxonomy import Category
from models.webhook import WebhookDelivery
from serve_app.import_photos import progress, store_rows
from serve_app.import_photos.parts import Batch, BatchLost, Step
from serve_app.import_photos.run_import import run_import
from serve_app.photo_quota import PhotoQuota
from tests.drawings import garment
from tests.import_jobs import ImportHarness, InProcess, counts_of, csv_feed, import_parts, zip_feed
from tests.services import create_shop, make_image
from tests.web_server import Request, response, running

RED, BLUE = garment("dress", "red", seed=901), garment("dress", "blue", seed=902)


@pytest.fixture
def shop(own_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportHarness]:
    """One that saves its progress at every step."""
    monkeypatch.setattr(progress, "SAVE_EVERY_S", 0.0)
    parts = import_parts(own_database, tmp_path, batch_rows=2)
    yield ImportHarness(parts, tmp_path, create_shop(own_database))
    with own_database.transaction() as session:
        session.execute(delete(Job))


def row(sku: str, photo: Any = RED, **cells: Any) -> dict[str, Any]:
    return {"sku": sku, "name": f"Item {sku}", "photo": photo, **cells}


def rows(count: int) -> list[dict[str, Any]]:
    return [row(f"S{number}") for number in range(count)]


def with_args(shop: ImportHarness, **args: Any) -> ImportHarness:
    return replace(shop, parts=replace(shop.parts, args=shop.parts.args.model_copy(update=args)))


@pytest.mark.parametrize("written", [csv_feed, zip_feed])
def test_new_items_are_stored_with_their_files_and_wait_for_their_vectors(
    shop: ImportHarness, written: Any
) -> None:
    job_id = shop.send(written([row("A", description="Long"), row("B", BLUE, description="Short")]))
    assert shop.work()
    assert shop.job(job_id).phase is ImportPhase.INDEXING
    assert not shop.close()  # its photos have no vectors yet
    photos = shop.photos()
    assert {(one.status, one.import_job_id) for one in photos.values()} == {(ImageStatus.PENDING, job_id)}
    assert photos["A"].description == "Long"
    shop.index()
    assert shop.close()
    job = shop.job(job_id)
    assert (job.status, counts_of(job)) == (
        JobStatus.SUCCEEDED,
        {"total": 2, "checked": 2, "created": 2, "photos": 2},
    )
    assert {(shop.directory / photos[sku].photo_key).read_bytes() for sku in "AB"} == {RED, BLUE}
    assert shop.files() == {photo.photo_key for photo in photos.values()}


def test_a_second_feed_changes_what_differs_and_nothing_else(shop: ImportHarness) -> None:
    shop.run([row("SAME"), row("TEXT"), row("PHOTO"), row("NO-PHOTO")])
    before = shop.photos()
    feed = [row("SAME"), row("TEXT") | {"name": "Other"}, row("PHOTO", BLUE), row("NO-PHOTO", "")]
    job_id = shop.send(feed)
    assert shop.work()
    after = shop.photos()
    assert {sku for sku in after if after[sku].status is ImageStatus.PENDING} == {"PHOTO"}
    assert {sku for sku in after if after[sku] != before[sku]} == {"TEXT", "PHOTO"}
    assert after["TEXT"].name == "Other"
    assert after["TEXT"].photo_key == before["TEXT"].photo_key
    assert after["TEXT"].metadata_revision == before["TEXT"].metadata_revision + 1
    assert before["PHOTO"].photo_key not in shop.files()
    assert (shop.directory / after["PHOTO"].photo_key).read_bytes() == BLUE
    shop.index()
    assert shop.close()
    assert counts_of(shop.job(job_id)) == {
        "total": 4, "checked": 4, "updated": 2, "unchanged": 2, "photos": 1
    }  # fmt: skip


async def test_photos_by_url_are_fetched_once_and_asked_for_by_their_etag_later(shop: ImportHarness) -> None:
    """reject_all looks at them before anything is stored, and keeps them."""
    fetch = FetchArgs(photos=True, allow_http=True, allowed_networks=["127.0.0.1"])
    online = replace(shop, parts=replace(shop.parts, fetch=fetch))
    async with running() as web:
        feed = [row(f"S{number}", f"http://127.0.0.1:{web.port}/{number}.jpg") for number in range(3)]

        async def answer(request: Request, writer: StreamWriter) -> None:
            is_known = request.headers.get("if-none-match") == '"v1"'
            writer.write(response(b"", "304 Not Modified") if is_known else response(RED, ETag='"v1"'))

        web.answers = {f"/{number}.jpg": [answer] for number in range(3)}
        job = await asyncio.to_thread(online.run, feed, on_error="reject_all")
        assert counts_of(job)["created"] == len(web.asked) == 3
        assert {photo.source_etag for photo in online.photos().values()} == {'"v1"'}
        assert online.files() == {photo.photo_key for photo in online.photos().values()}
        again = await asyncio.to_thread(online.run, feed)
        assert counts_of(again)["unchanged"] == 3
        assert [bool(one.headers.get("if-none-match")) for one in web.asked] == [False] * 3 + [True] * 3
        web.answers["/1.jpg"] = [response(b"gone", "404 Not Found")]
        job = await asyncio.to_thread(online.run, [row("NEW", feed[1]["photo"]), feed[0]])
    assert counts_of(job) == {"total": 2, "checked": 2, "unchanged": 1, "failed": 1}
    assert [one.code for one in online.errors(job.id or 0)] == ["photo_url_failed"]


def test_a_broken_row_is_an_error_with_its_line_and_the_others_are_stored(shop: ImportHarness) -> None:
    feed = [
        row("OK", Category="no such"),
        row("TWICE", Category=""),
        row("TWICE", Category=""),
        row("NEW-WITHOUT", "", Category=""),
        row("TORN", RED[:500], Category=""),
        row("PDF", b"%PDF-1.7 nothing", Category=""),
        row("", Category=""),
        row("GOOD", Category=""),
    ]
    job = shop.run(feed)
    assert job.id is not None
    errors = shop.errors(job.id)
    assert [(one.line, one.sku, one.code) for one in errors] == [
        (2, "OK", "unknown_reference"),
        (4, "TWICE", "duplicate_sku"),
        (5, "NEW-WITHOUT", "photo_missing"),
        (6, "TORN", "photo_unreadable"),
        (7, "PDF", "photo_type_unsupported"),
        (8, None, "invalid_input"),
    ]
    assert "line 3" in errors[1].reason
    assert errors[0].row["Category"] == "no such"
    assert list(errors[0].row)[:3] == ["sku", "name", "photo"]
    assert set(shop.photos()) == {"TWICE", "GOOD"}
    assert counts_of(job) == {"total": 8, "checked": 8, "created": 2, "failed": 6, "photos": 2}
    assert len(shop.files()) == 2


def test_errors_beyond_the_bound_are_counted_only(shop: ImportHarness) -> None:
    job = with_args(shop, max_errors=3).run([row(f"S{number}", "") for number in range(7)])
    assert job.id is not None
    assert job.counts["failed"] == 7
    assert [one.line for one in shop.errors(job.id)] == [2, 3, 4]


def test_terms_go_by_name_in_any_case_or_by_id(shop: ImportHarness, own_database: Database) -> None:
    with own_database.transaction() as session:
        session.add(dresses := Category(name="Évening Dresses"))
        session.flush()
        category_id = dresses.id
    job = shop.run([row("NAME", Category="éVENING dresses"), row("ID", Category=str(category_id))])
    assert counts_of(job)["created"] == 2
    assert {one.category_id for one in shop.photos().values()} == {category_id}


def test_auto_tag_is_asked_for_and_left_in_peace_by_the_next_feed(shop: ImportHarness) -> None:
    feed = [row("A", Category="")]
    shop.run(feed, auto_tag=True)
    (image,) = shop.photos().values()
    assert image.auto_tag
    with shop.parts.database.transaction() as session:
        category = session.get(Category, 1) or Category(id=1, name="Filled in")
        session.add(category)
        session.flush()
        filled = {"category_id": 1, "suggestions": {"Category": 0.9}}
        session.execute(update(Image).where(col(Image.id) == image.id).values(**filled))
    assert counts_of(shop.run(feed, auto_tag=True))["unchanged"] == 1
    assert shop.photos()["A"].category_id == 1


def test_rows_beyond_the_quota_are_errors(shop: ImportHarness) -> None:
    full = replace(shop, parts=replace(shop.parts, quota=PhotoQuota(5)))
    full.run([row("OLD")])
    job = full.run([*rows(7), row("OLD")])
    assert job.id is not None
    assert len(full.photos()) == 5
    assert counts_of(job) == {
        "total": 8, "checked": 8, "created": 4, "unchanged": 1, "failed": 3, "photos": 4
    }  # fmt: skip
    assert {one.code for one in full.errors(job.id)} == {"quota_exceeded"}
    assert len(full.files()) == 5


@pytest.mark.parametrize(
    "broken", [{"photo": RED[:500]}, {"photo": ""}, {"Category": "no such"}, {"sku": ""}]
)
def test_reject_all_stores_nothing_for_one_broken_row(shop: ImportHarness, broken: dict[str, Any]) -> None:
    feed = [row(f"S{number}", Category="") for number in range(6)]
    feed[4] |= broken
    job_id = shop.send(feed, on_error="reject_all")
    assert shop.work()
    assert shop.close()
    job = shop.job(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "rows_rejected")
    assert "1 of 6" in (job.error or "")
    assert counts_of(job) == {"total": 6, "checked": 6, "failed": 1}
    assert [one.line for one in shop.errors(job_id)] == [6]
    assert (shop.photos(), shop.files()) == ({}, set())


def test_reject_all_stores_a_feed_without_faults(shop: ImportHarness) -> None:
    assert counts_of(shop.run(rows(5), on_error="reject_all"))["created"] == 5


def test_a_full_feed_removes_what_it_leaves_out(shop: ImportHarness) -> None:
    shop.run(rows(10))
    job_id = shop.send([*rows(7), row("S7", "broken", name="")], mode="full")
    assert shop.work()
    assert set(shop.photos()) == {f"S{number}" for number in range(8)}  # S7 is broken, and there
    shop.index()
    assert shop.close()
    assert counts_of(shop.job(job_id))["removed"] == 2


def test_what_came_after_the_feed_was_sent_is_not_removed(shop: ImportHarness) -> None:
    shop.run(rows(9))
    shop.send(rows(8), mode="full")
    with shop.parts.database.transaction() as session:
        images.insert(session, make_image(shop.shop_id, sku="LATE"))
    assert shop.work()
    assert set(shop.photos()) == {f"S{number}" for number in range(8)} | {"LATE"}


def test_a_full_feed_removes_what_a_feed_before_it_brought(shop: ImportHarness) -> None:
    """Both were sent before either was worked on: afterwards the shop is as the second one says."""
    shop.run(rows(9))
    shop.send([row("S9")])
    full = shop.send(rows(9), mode="full")
    for _ in range(2):
        assert shop.work()
        shop.index()
        assert shop.close()
    assert set(shop.photos()) == {f"S{number}" for number in range(9)}
    assert counts_of(shop.job(full))["removed"] == 1


@pytest.mark.parametrize(
    ("feed", "numbers"), [(rows(6), ("4", "10")), ([*rows(9), row("")], ("1 rows", "1 photos"))]
)
def test_a_removal_that_may_be_a_mistake_is_refused_before_anything_is_stored(
    shop: ImportHarness, feed: list[dict[str, Any]], numbers: tuple[str, str]
) -> None:
    shop.run(rows(10))
    before = shop.photos()
    job_id = shop.send([*feed, row("NEW")], mode="full")
    assert shop.work()
    assert shop.close()
    job = shop.job(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "removal_refused")
    assert all(number in (job.error or "") for number in numbers)
    assert shop.photos() == before
    confirmed = shop.run([*feed, row("NEW")], mode="full", confirm_removal=True)
    assert confirmed.status is JobStatus.SUCCEEDED
    assert len(shop.photos()) == len([one for one in feed if one["sku"]]) + 1


def test_the_end_of_a_job_queues_its_webhook_once(shop: ImportHarness) -> None:
    with shop.parts.database.transaction() as session:
        webhooks.set_webhook(session, shop.shop_id, "https://shop.example/hook", b"nonce")
    ended = [shop.run(rows(2)), shop.run(b"nonsense")]
    assert not shop.close()
    new = shop.send(rows(2))
    with shop.parts.database.transaction() as session:
        assert import_requests.cancel(session, new)
    ended.append(shop.job(new))
    assert shop.claim() is None
    assert not shop.close()
    with shop.parts.database.transaction() as session:
        query = select(WebhookDelivery).where(col(WebhookDelivery.shop_id) == shop.shop_id)
        sent = {one.job_id: one for one in session.scalars(query)}
    events = [f"import.{status}" for status in ("succeeded", "failed", "cancelled")]
    assert [sent[job.id].event for job in ended] == events
    assert sent[ended[0].id].payload["data"]["counts"]["created"] == 2
    assert len(sent) == 3


def test_a_feed_that_cannot_be_read_fails_with_its_reason(shop: ImportHarness) -> None:
    job_id = shop.send(b"sku,name,colour of the hat\nA,B,C\n")
    assert shop.work()
    assert shop.close()
    job = shop.job(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "feed_unreadable")
    assert shop.files() == set()


@pytest.mark.parametrize("mode", ["incremental", "full"])
@pytest.mark.parametrize("on_error", ["skip_rows", "reject_all"])
def test_a_job_goes_on_exactly_wherever_its_workers_die(
    shop: ImportHarness, mode: str, on_error: str
) -> None:
    """A batch at a time gets through, then everything dies: before the batch or just after it."""
    job_id = shop.send(rows(9), mode=mode, on_error=on_error)
    done = 0

    def die_after_one(_: Batch) -> None:
        nonlocal done
        done += 1
        if done % 2 == 0:
            raise BatchLost

    attempts = 0
    while not shop.work(die_after_one):
        attempts += 1
        expire_lease(shop, job_id)
    assert attempts >= 4
    shop.index()
    assert shop.close()
    assert counts_of(shop.job(job_id)) == {"total": 9, "checked": 9, "created": 9, "photos": 9}
    assert set(shop.photos()) == {f"S{number}" for number in range(9)}
    assert shop.files() == {photo.photo_key for photo in shop.photos().values()}


def test_a_repeated_batch_writes_the_same_files(shop: ImportHarness) -> None:
    """The process dies between the files and the commit."""
    job_id = shop.send(rows(2))
    full = replace(shop, parts=replace(shop.parts, quota=_Dying()))
    with pytest.raises(ZeroDivisionError):
        full.work()
    written = {key for key in shop.files() if "/imports/" not in key}
    assert (len(written), shop.photos()) == (2, {})
    expire_lease(shop, job_id)
    assert shop.work()
    assert {key for key in shop.files() if "/imports/" not in key} == written
    assert {photo.photo_key for photo in shop.photos().values()} == written


class _Dying(PhotoQuota):
    def __init__(self) -> None:
        super().__init__(None)

    def excess(self, *_: Any) -> int:
        return 1 // 0


def test_a_cancelled_job_leaves_no_files_that_no_row_names(shop: ImportHarness) -> None:
    job_id = shop.send(rows(2))
    with pytest.raises(ZeroDivisionError):
        replace(shop, parts=replace(shop.parts, quota=_Dying())).work()
    cancel(shop, job_id)
    expire_lease(shop, job_id)
    assert shop.close()
    assert (shop.job(job_id).status, shop.files()) == (JobStatus.CANCELLED, set())


def test_a_job_whose_workers_die_without_progress_fails(shop: ImportHarness) -> None:
    job_id = shop.send(rows(2))

    def die(_: Batch) -> None:
        raise BatchLost

    for _ in range(shop.parts.indexer.max_attempts + 1):  # the first one got through the check
        assert not shop.work(die)
        expire_lease(shop, job_id)
    assert shop.claim() is None
    assert shop.close()
    job = shop.job(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "internal_error")
    assert job.error == "gave up after 5 attempts: a process that worked on its rows died"


@pytest.mark.parametrize("on_error", ["skip_rows", "reject_all"])
def test_a_job_whose_workers_die_just_after_each_batch_goes_on(shop: ImportHarness, on_error: str) -> None:
    """Nobody is told of the batch any more, but what it settled is progress."""
    batches = shop.parts.indexer.max_attempts + 2
    job_id = shop.send(rows(2 * batches), on_error=on_error)
    deaths = 0
    while (job := shop.claim()) is not None:

        def die_after(batch: Batch, job: ClaimedImport = job) -> None:
            work = store_rows.check_rows if batch.step is Step.CHECK else store_rows.store_rows
            work(shop.parts, job, batch)
            raise BatchLost

        deaths += not run_import(shop.parts, job, InProcess(shop.parts, job, die_after))
        expire_lease(shop, job_id)
    assert deaths == batches * (2 if on_error == "reject_all" else 1)
    assert shop.job(job_id).phase is ImportPhase.INDEXING
    assert len(shop.photos()) == 2 * batches


@pytest.mark.parametrize("batch_number", [1, 3])
def test_a_cancelled_job_stops_and_says_what_it_stored(shop: ImportHarness, batch_number: int) -> None:
    job_id = shop.send(rows(20))
    started = 0

    def cancel_at(_: Batch) -> None:
        nonlocal started
        started += 1
        if started == batch_number:
            cancel(shop, job_id)

    assert not shop.work(cancel_at)
    assert shop.claim() is None
    assert shop.close()
    job = shop.job(job_id)
    assert job.status is JobStatus.CANCELLED
    assert 2 <= job.counts["created"] == len(shop.photos()) < 20
    assert shop.source_is_gone(job)


def test_a_job_can_be_cancelled_before_it_begins_and_while_its_photos_are_indexed(
    shop: ImportHarness,
) -> None:
    waiting = shop.send(rows(2))
    cancel(shop, waiting)
    assert shop.claim() is None
    assert shop.close()
    assert (shop.job(waiting).status, shop.photos()) == (JobStatus.CANCELLED, {})
    indexing = shop.send(rows(2))
    assert shop.work()
    cancel(shop, indexing)
    assert shop.close()
    assert (shop.job(indexing).status, len(shop.photos())) == (JobStatus.CANCELLED, 2)


def test_shops_take_turns_by_slices_and_a_shop_works_on_one_job_at_a_time(
    shop: ImportHarness, own_database: Database
) -> None:
    impatient = with_args(shop, slice_s=1e-9)
    other = replace(impatient, shop_id=create_shop(own_database))
    first, later = impatient.send(rows(11)), impatient.send([row("Z")])
    second = other.send(rows(11))
    turns = []
    while job := impatient.claim():
        turns.append(job.job_id)
        run_import(impatient.parts, job, InProcess(impatient.parts, job))
    assert turns[:6] == [first, second, first, second, first, second]
    assert turns.index(later) > max(place for place, one in enumerate(turns) if one == first)
    assert (len(impatient.photos()), len(other.photos())) == (12, 11)


def test_a_small_import_ends_while_a_large_one_of_another_shop_goes_on(
    shop: ImportHarness, own_database: Database
) -> None:
    with own_database.transaction() as session:
        session.execute(delete(Image))
    small = replace(shop, shop_id=create_shop(own_database))
    stored_id = shop.send(rows(60))
    assert shop.work()
    large_id = shop.send(rows(60))
    held = shop.claim()
    assert held is not None
    assert held.job_id == large_id
    small_id = small.send(rows(10))
    assert small.work()
    with own_database.transaction() as session:
        claim = work.claim_embedding(session, limit=32, lease_s=60, max_attempts=5)
        session.rollback()
    assert Counter(photo.shop_id for photo in claim.photos)[small.shop_id] == 10
    small.index()
    assert small.close()
    found = {job_id: shop.job(job_id).status for job_id in (stored_id, large_id, small_id)}
    assert found == {stored_id: JobStatus.RUNNING, large_id: JobStatus.RUNNING, small_id: JobStatus.SUCCEEDED}


def test_an_import_of_a_busy_shop_does_not_pass_one_that_waits_longer(
    shop: ImportHarness, own_database: Database
) -> None:
    other = replace(shop, shop_id=create_shop(own_database))
    for number in range(2):
        shop.run([row(f"B{number}")])
    waiting = other.send([row("A")])
    shop.send([row("B3")])
    job = shop.claim()
    assert job is not None
    assert job.job_id == waiting


def test_an_import_stops_where_its_shop_is_closed(shop: ImportHarness) -> None:
    job_id = shop.send(rows(9))
    seen = 0

    def close_shop(_: Batch) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            with shop.parts.database.transaction() as session:
                change = update(Shop).where(col(Shop.id) == shop.shop_id)
                session.execute(change.values(status=ShopStatus.DELETING))

    assert not shop.work(close_shop)
    assert len(shop.photos()) == 2
    assert len([key for key in shop.files() if "/imports/" not in key]) == 2
    assert shop.claim() is None
    assert not shop.close()
    assert shop.job(job_id).status is JobStatus.QUEUED


def test_an_item_that_changes_hands_meanwhile_is_prepared_again(shop: ImportHarness) -> None:
    shop.run([row("GONE"), row("STAYS")])
    image_id = shop.photos()["GONE"].id
    assert image_id is not None
    shop.send([row("GONE"), row("STAYS")])
    job = shop.claim()
    assert job is not None
    with shop.parts.rows_of(job.request) as feed:
        found = list(feed)
    batch = Batch(Step.STORE, found)  # type: ignore[arg-type]
    ready = store_rows.prepare(shop.parts, job, batch)
    with shop.parts.database.transaction() as session:
        assert images.mark_deleting(session, shop.shop_id, image_id)
        import_rows.add(session, job.job_id, found)
    with pytest.raises(store_rows.Moved):
        store_rows._Storing(shop.parts, job, ready).run()
    assert store_rows.store_rows(shop.parts, job, batch).outcomes == {"created": 1, "unchanged": 1}


def test_a_batch_that_two_work_on_is_stored_once(shop: ImportHarness) -> None:
    """As when one that was given up goes on after all."""
    shop.send(rows(6))
    job = shop.claim()
    assert job is not None
    with shop.parts.rows_of(job.request) as feed:
        batch = Batch(Step.STORE, list(feed))  # type: ignore[arg-type]
    with shop.parts.database.transaction() as session:
        import_rows.add(session, job.job_id, batch.rows)
    with ThreadPoolExecutor(3) as workers:
        asked = [workers.submit(store_rows.store_rows, shop.parts, job, batch) for _ in range(3)]
    assert sorted(str(one.result().outcomes) for one in asked) == ["{'created': 6}", "{}", "{}"]
    assert shop.files() >= {photo.photo_key for photo in shop.photos().values()}
    assert len([key for key in shop.files() if "/imports/" not in key]) == 6


def expire_lease(shop: ImportHarness, job_id: int) -> None:
    with shop.parts.database.transaction() as session:
        session.execute(update(Job).where(col(Job.id) == job_id).values(lease_until=None))


def cancel(shop: ImportHarness, job_id: int) -> None:
    with shop.parts.database.transaction() as session:
        session.execute(update(Job).where(col(Job.id) == job_id).values(cancel_requested=True))
