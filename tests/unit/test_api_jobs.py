"""Imports as their shop follows them: lists, progress, broken rows, cancelling, and their end."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from db import import_requests, import_rows, jobs
from db.media import MediaStore, new_source_key
from models.feed import BrokenRow, FeedFormat, FeedRow
from models.image import Image
from models.import_job import ImportCounts, ImportPhase, ImportRequest
from models.job import Job, JobKind, JobStatus
from serve_app.feeds.read_feed import read_feed
from serve_app.housekeeping import tidy_imports
from serve_app.import_jobs import ImportView
from serve_app.import_progress import speed_of
from tests.drawings import garment
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import FakeService

JOBS = "/api/jobs/"
FEED = (
    'sku,name,attributes.colour,Category,attributes.note\n,No sku,red,Dresses,"a, ""b""\n=1+1"\n'
    "A,Dress,red,Dresses,\nB,,café,Dresses,@x\nA,Again,blue,Dresses,\n"
)


def new_job(service: FakeService, shop: ShopClient, feed: bytes = b"sku,name\n", **columns: Any) -> int:
    """An import with its file; ``columns``: of its row."""
    request = ImportRequest(source=new_source_key(shop.shop_id), size_bytes=len(feed), sha256="0" * 64)
    service.services.media.save(request.source, feed)
    with service.database.transaction() as session:
        job = import_requests.add(session, shop.shop_id, request, None)
        assert job is not None
        assert job.id is not None
        change = update(Job).where(col(Job.id) == job.id)
        if columns:
            session.execute(change.values(**columns))
        return job.id


def read(shop: ShopClient, job_id: int) -> dict[str, Any]:
    answer = shop.request("GET", f"{JOBS}{job_id}/")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def source_exists(service: FakeService, job_id: int) -> bool:
    with service.database.transaction() as session:
        request = ImportRequest.model_validate(session.get_one(Job, job_id).request)
    return service.services.media.exists(request.source)


def test_pages_of_jobs_hold_the_shops_imports_newest_first(
    service: FakeService, new_shop: Callable[[], ShopClient]
) -> None:
    shop, other = new_shop(), new_shop()
    ids = [new_job(service, one) for one in (shop, other, shop, shop, shop, shop)]
    with service.database.transaction() as session:
        jobs.add(session, JobKind.DELETE_SHOP, shop.shop_id)
    found, address = [], f"{JOBS}?limit=2"
    while address is not None:
        page = shop.request("GET", address).json()
        assert len(page["results"]) <= 2
        found += page["results"]
        address = page["next"]
    assert [one["id"] for one in found] == sorted(set(ids) - {ids[1]}, reverse=True)
    assert found[0] == read(shop, ids[-1])
    assert_problem(shop.request("GET", JOBS, params={"cursor": "!"}), 422, "invalid_input", "/cursor")


def test_another_kind_of_job_is_none(service: FakeService, shop: ShopClient) -> None:
    with service.database.transaction() as session:
        job_id = jobs.add(session, JobKind.DELETE_SHOP, shop.shop_id).id
    for method, path in (("GET", ""), ("GET", "errors/"), ("GET", "errors/?format=csv"), ("POST", "cancel/")):
        assert_problem(shop.request(method, f"{JOBS}{job_id}/{path}"), 404, "not_found")


def test_what_a_running_job_shows(service: FakeService, shop: ShopClient) -> None:
    counts = ImportCounts(total=10, checked=10, created=3, unchanged=1, failed=1, photos=3, rows_per_s=9.0)
    begun = datetime.now(UTC) - timedelta(seconds=8)
    job_id = new_job(
        service,
        shop,
        **{"phase": ImportPhase.STORING, "started_at": begun, "counts": counts.model_dump()},
    )
    waiting = shop.add(garment())["ImageID"]
    with service.database.transaction() as session:
        session.execute(update(Image).where(col(Image.id) == waiting).values(import_job_id=job_id))
    job = read(shop, job_id)
    # Between two turns it is in the queue; its shop sees it run.
    assert (job["status"], job["phase"]) == ("running", "storing")
    assert job["counts"] == {
        **{"rows": 10, "checked": 10, "created": 3, "updated": 0, "unchanged": 1, "failed": 1},
        **{"removed": 0, "indexed": 2, "indexing": 1},
    }
    assert job["rate_per_s"] == pytest.approx(4 / 8, abs=0.1)
    assert job["eta_s"] == pytest.approx(6 / 0.5, rel=0.2)
    assert service.http.get(job["errors"], headers=shop.headers).status_code == 200


START = datetime(2026, 5, 1, tzinfo=UTC)
COUNTS = ImportCounts(total=100, checked=100, created=50, rows_per_s=7.0).model_dump()


@pytest.mark.parametrize(
    ("columns", "indexing", "speed"),
    [
        ({"status": "queued"}, 0, (None, None)),
        ({"status": "running", "phase": "checking", "counts": {"rows_per_s": 7.0}}, 0, (7.0, None)),
        ({"status": "running", "phase": "storing"}, 0, (5.0, 10.0)),
        ({"status": "running", "phase": "indexing"}, 30, (2.0, 40.0)),
        ({"status": "running", "phase": "indexing"}, 50, (None, None)),
        ({"status": "succeeded", "finished_at": START + timedelta(seconds=5)}, 0, (10.0, None)),
        ({"status": "failed", "finished_at": START + timedelta(seconds=5)}, 0, (None, None)),
    ],
    ids=str,
)
def test_rate_and_time_left(
    columns: dict[str, Any], indexing: int, speed: tuple[float | None, float | None]
) -> None:
    """10 s after the start."""
    values = {"counts": COUNTS, "started_at": None if columns["status"] == "queued" else START, **columns}
    values |= {
        "status": JobStatus(values["status"]),
        "phase": values.get("phase") and ImportPhase(values["phase"]),
    }
    found = speed_of(ImportView(Job(kind=JobKind.IMPORT, **values), indexing), START + timedelta(seconds=10))
    assert (found.rate_per_s, found.eta_s) == speed


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"status": "failed", "error": "No.", "error_code": "feed_unreadable"}, ("feed_unreadable", "No.")),
        ({"status": "failed", "error": "Crashed."}, ("internal_error", "Crashed.")),
        ({"status": "queued", "phase": "storing", "error": "Out."}, ("dependency_unavailable", "Out.")),
    ],
    ids=str,
)
def test_what_a_job_says_of_its_troubles(
    service: FakeService, shop: ShopClient, columns: dict[str, Any], error: tuple[str, str]
) -> None:
    columns |= {"status": JobStatus(columns["status"])}
    job = read(shop, new_job(service, shop, **columns))
    assert job["error"] == dict(zip(("code", "detail"), error, strict=True))


def broken(service: FakeService, job_id: int, feed: bytes, feed_format: FeedFormat = FeedFormat.AUTO) -> int:
    """What the check of a feed notes; how many rows are broken."""
    with service.database.transaction() as session:
        rows = list(read_feed(io.BytesIO(feed), feed_format))
        errors = import_rows.add(session, job_id, rows)
        import_rows.add_errors(session, job_id, errors, 10_000)
    return len(errors)


def test_broken_rows_come_by_line_in_pages(service: FakeService, shop: ShopClient) -> None:
    job_id = new_job(service, shop)
    assert broken(service, job_id, FEED.encode()) == 3
    found, address = [], f"{JOBS}{job_id}/errors/?limit=2"
    while address is not None:
        page = shop.request("GET", address).json()
        found += page["results"]
        address = page["next"]
    assert [(one["line"], one["sku"], one["code"]) for one in found] == [
        *((2, None, "invalid_input"), (5, "B", "invalid_input"), (6, "A", "duplicate_sku")),
    ]
    assert all(one["reason"] for one in found)
    answer = shop.request("GET", f"{JOBS}{job_id}/errors/", params={"limit": 0})
    assert_problem(answer, 422, "invalid_input", "/limit")


@pytest.mark.parametrize("asked", [{"headers": {"Accept": "text/csv"}}, {"params": {"format": "csv"}}])
def test_broken_rows_as_csv_are_the_rows_that_were_sent(
    service: FakeService, shop: ShopClient, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.import_jobs.PAGE_ROWS", 1)
    job_id = new_job(service, shop)
    broken(service, job_id, FEED.encode())
    answer = shop.request("GET", f"{JOBS}{job_id}/errors/", **asked)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.content.startswith(b"\xef\xbb\xbfsku,name,attributes.colour,Category,attributes.note,")
    sent = dict(zip((2, 4, 5, 6), csv.DictReader(io.StringIO(FEED)), strict=True))
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [int(row["error_line"]) for row in rows] == [2, 5, 6]
    for row in rows:
        kept = sent[int(row["error_line"])]
        assert {name: row[name] for name in kept} == kept

    # Corrected, it is a feed; what explains the errors says nothing there.
    fixed = answer.content.replace(b"\n,No sku", b"\nC,Sku now").replace(b"\nB,,", b"\nB,Name now,")
    again = list(read_feed(io.BytesIO(fixed)))
    assert [row.sku for row in again] == ["C", "B", "A"]
    assert all(isinstance(row, FeedRow) for row in again)
    assert isinstance(again[0], FeedRow)
    assert again[0].values["attributes"]["note"] == 'a, "b"\n=1+1'
    assert all(isinstance(row, BrokenRow) for row in list(read_feed(io.BytesIO(answer.content)))[:2])


def test_a_job_without_broken_rows_has_none(service: FakeService, shop: ShopClient) -> None:
    job_id = new_job(service, shop)
    assert shop.request("GET", f"{JOBS}{job_id}/errors/").json() == {"results": [], "next": None}
    lines = shop.request("GET", f"{JOBS}{job_id}/errors/", params={"format": "csv"}).text.splitlines()
    assert len(lines) == 1


def test_a_job_that_waits_is_cancelled_at_once(service: FakeService, shop: ShopClient) -> None:
    job_id = new_job(service, shop)
    answer = shop.request("POST", f"{JOBS}{job_id}/cancel/")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    assert answer.json()["finished_at"] is not None
    assert not source_exists(service, job_id)
    problem = assert_problem(shop.request("POST", f"{JOBS}{job_id}/cancel/"), 409, "conflict")
    assert "cancelled" in problem["detail"]


def test_a_job_that_was_begun_is_cancelled_by_its_worker(service: FakeService, shop: ShopClient) -> None:
    for columns in ({"status": JobStatus.RUNNING}, {"phase": ImportPhase.STORING}):
        job_id = new_job(service, shop, **columns)
        for _ in range(2):
            job = shop.request("POST", f"{JOBS}{job_id}/cancel/").json()
            assert (job["status"], job["cancel_requested"]) == ("running", True)
        assert source_exists(service, job_id)


def test_jobs_go_some_days_after_their_end(service: FakeService, shop: ShopClient, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ends = [now - timedelta(days=31), now - timedelta(days=29), None]
    ids = [
        new_job(service, shop, status=status, finished_at=at, created_at=now - timedelta(days=40))
        for at, status in zip(ends, (JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED), strict=True)
    ]
    broken(service, ids[0], FEED.encode())
    media = service.services.media
    with service.database.transaction() as session:
        source = ImportRequest.model_validate(session.get_one(Job, ids[0]).request).source
    tidy_imports(service.database, MediaStore(str(tmp_path)), keep_days=40)
    assert [one["id"] for one in shop.request("GET", JOBS).json()["results"]] == ids[::-1]
    tidy_imports(service.database, media, keep_days=30)
    assert [one["id"] for one in shop.request("GET", JOBS).json()["results"]] == ids[:0:-1]
    assert not media.exists(source)
    assert source_exists(service, ids[1])
