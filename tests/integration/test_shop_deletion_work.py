"""The work on a shop's deletion, stopped at every step: it resumes, and its report stays exact."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session
from sqlmodel import col

from configs.serving import IndexerArgs
from db import (
    embeddings,
    events,
    images,
    import_rows,
    index_versions,
    jobs,
    keys,
    prompts,
    shop_deletion,
    work,
)
from db.jobs import ClaimedJob
from db.media import MediaStore
from db.open_shops import lock_open
from db.session import Database
from models.errors import DependencyUnavailable, NotAuthenticated, NotFound
from models.event import Event, EventKind
from models.feed import BrokenRow
from models.image import Image, ImageStatus, IndexState, IndexVersion
from models.job import Job, JobKind, JobStatus
from models.mail import Mail, MailKind, MailStatus
from models.prompt import Prompt
from models.shop import ApiKey, KeyScope, Shop, ShopStatus, SignupLink
from models.webhook import WebhookDelivery
from serve_app.delete_shop import DeletionParts, carry_out, request_deletion
from tests.services import create_shop, make_image

ARGS = IndexerArgs()
EXPECTED = {
    "photos": 3,
    "vectors": 3,
    "events": 4,
    "prompts": 3,
    "imports": 2,
    "keys": 2,
    "links": 1,
    "mails": 1,
    "deliveries": 1,
    "files": 4,
    "bytes": 400,
    "collections": 2,
}


class Crash(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@dataclass
class Steps:
    """Crashes at the ``crash_at``-th moment at which something outside is about to be done."""

    crash_at: int | None = None
    taken: int = 0

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.crash_at:
            raise Crash


@dataclass
class Stepping:
    """Every method of ``real`` with a step before it. After one is the same as before the next."""

    real: Any
    steps: Steps

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.steps.step()
            return getattr(self.real, name)(*args)

        return call

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        self.steps.step()
        with self.real.transaction() as session:
            yield session


@dataclass
class Collections:
    """The shop's collections, by index version."""

    found: set[tuple[int, int]] = field(default_factory=set)
    error: Exception | None = None

    def exists(self, version_id: int, shop_id: int) -> bool:
        return (version_id, shop_id) in self.found

    def drop(self, version_id: int, shop_id: int) -> None:
        if self.error is not None:
            raise self.error
        self.found.discard((version_id, shop_id))


@dataclass
class Bench:
    """A database, files and an index of this module's own."""

    database: Database
    media_dir: Path
    collections: Collections

    def parts(self, steps: Steps) -> Any:
        media = MediaStore(self.media_dir.as_uri())
        outside = (Stepping(one, steps) for one in (self.database, media, self.collections))
        return DeletionParts(*outside, ARGS)  # type: ignore[arg-type]

    def stocked_shop(self) -> int:
        shop_id = create_shop(self.database)
        with self.database.transaction() as session:
            rows = [images.insert(session, make_image(shop_id)) for _ in range(3)]
            vector = np.ones(4, np.float32)
            embeddings.save(session, "m", [(row.id or 0, row.photo_sha256, vector) for row in rows])
            asked = [new_prompt(shop_id) for _ in range(3)]
            prompts.add(session, asked)
            for number in range(4):
                acts = {"prompt_id": asked[number % 2].id, "image_id": number, "position": 1}
                events.add(session, Event(shop_id=shop_id, kind=EventKind.CLICK, **acts))
            for _ in range(2):
                keys.add_key(session, shop_id, uuid.uuid4().hex, b"x", KeyScope.SECRET)
            add_mail(session, shop_id)
            for _ in range(2):
                job_id = jobs.add(session, JobKind.IMPORT, shop_id).id or 0
                broken = BrokenRow(2, None, "invalid_input", "sku: is empty.", {"sku": ""})
                import_rows.add_errors(session, job_id, import_rows.add(session, job_id, [broken]), 9)
            versions = index_versions.ids(session)
        self.collections.found |= {(version, shop_id) for version in versions}
        for name in (*(f"{row.id}/a.jpg" for row in rows), "999/.torn.part"):
            path = self.media_dir / "shops" / str(shop_id) / name
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x" * 100)
        return shop_id

    def begin(self, shop_id: int) -> int:
        with self.database.transaction() as session:
            return request_deletion(session, shop_id).id or 0

    def claim(self, max_attempts: int = 5) -> ClaimedJob | None:
        with self.database.transaction() as session:
            return jobs.claim(session, JobKind.DELETE_SHOP, lease_s=60, max_attempts=max_attempts)

    def work(self, steps: Steps | None = None) -> bool:
        job = self.claim()
        assert job is not None
        return carry_out(self.parts(steps or Steps()), job)

    def make_due(self) -> None:
        """Let every lease and every pause run out."""
        with self.database.transaction() as session:
            session.execute(update(Job).values(lease_until=func.now() - timedelta(seconds=1)))

    def job(self, job_id: int) -> Job:
        with self.database.transaction() as session:
            return session.get_one(Job, job_id)

    def assert_gone(self, shop_id: int, job_id: int) -> None:
        job = self.job(job_id)
        assert job.status is JobStatus.SUCCEEDED
        assert job.counts["removed"] == EXPECTED
        assert (job.lease_token, job.error) == (None, None)
        with self.database.transaction() as session:
            assert session.get(Shop, shop_id) is None
            assert rows_of(session, shop_id) == [0, 0, 0, 0, 0, 0, 0]
        assert not (self.media_dir / "shops" / str(shop_id)).exists()
        assert not {shop for _, shop in self.collections.found} & {shop_id}


@pytest.fixture
def bench(own_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(shop_deletion, "BATCH_ROWS", 2)
    with own_database.transaction() as session:
        if not index_versions.ids(session):
            for state in (IndexState.LIVE, IndexState.RETIRED):
                session.add(IndexVersion(model_key="m", dimension=4, state=state))
    return Bench(own_database, tmp_path, Collections())


def new_prompt(shop_id: int) -> Prompt:
    fields = {"prompt": "dress", "number_recommended": 1, "result_ids": [], "scores": [], "model_key": "m"}
    return Prompt(id=uuid.uuid4(), shop_id=shop_id, duration_ms=1.0, **fields)


def rows_of(session: Session, shop_id: int) -> list[int]:
    """Photos, prompts, keys, links, mails, events, messages."""
    tables = (Image, Prompt, ApiKey, SignupLink, Mail, Event, WebhookDelivery)
    counts = (select(func.count()).where(col(table.shop_id) == shop_id) for table in tables)
    return [session.scalars(count).one() for count in counts]


def add_mail(session: Session, shop_id: int) -> None:
    link = SignupLink(shop_id=shop_id, nonce=b"n", token_hash=uuid.uuid4().bytes)
    session.add(link)
    session.flush()
    session.add(
        Mail(shop_id=shop_id, link_id=link.id or 0, kind=MailKind.ACTIVATION, recipient="a@example.com")
    )
    session.add(WebhookDelivery(shop_id=shop_id, event="webhook.test"))
    session.flush()


def test_a_crash_at_any_step_changes_nothing_in_the_report(bench: Bench) -> None:
    kept = bench.stocked_shop()
    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        shop_id = bench.stocked_shop()
        job_id = bench.begin(shop_id)
        try:
            bench.work(Steps(crash_at))
            crashed = False
        except Crash:
            if bench.job(job_id).status is not JobStatus.SUCCEEDED:
                bench.make_due()
                assert bench.work()
        bench.assert_gone(shop_id, job_id)
    assert crash_at > 25
    with bench.database.transaction() as session:
        assert rows_of(session, kept) == [3, 3, 2, 1, 1, 4, 1]
    assert len(list((bench.media_dir / "shops" / str(kept)).rglob("*.*"))) == 4


def test_an_outage_gives_the_job_back(bench: Bench) -> None:
    shop_id = bench.stocked_shop()
    job_id = bench.begin(shop_id)
    bench.collections.error = DependencyUnavailable("The search index does not answer.")
    for _ in range(7):
        assert not bench.work()
        bench.make_due()
    job = bench.job(job_id)
    assert (job.status, job.attempts, job.error) == (JobStatus.QUEUED, 0, "The search index does not answer.")
    bench.collections.error = None
    assert bench.work()
    bench.assert_gone(shop_id, job_id)


def test_a_job_that_crashes_each_time_fails_until_it_is_retried(bench: Bench) -> None:
    shop_id = bench.stocked_shop()
    job_id = bench.begin(shop_id)
    for _ in range(3):
        assert bench.claim(max_attempts=3) is not None
        assert bench.claim(max_attempts=3) is None, "its lease is held"
        bench.make_due()
    assert bench.claim(max_attempts=3) is None
    job = bench.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error == "gave up after 3 attempts: the work on it stopped each time without a reason"
    with bench.database.transaction() as session:
        assert jobs.retry(session, job_id)
        assert not jobs.retry(session, job_id)
    bench.make_due()
    assert bench.work()
    bench.assert_gone(shop_id, job_id)


def test_a_worker_that_lost_its_lease_stops(bench: Bench) -> None:
    shop_id = bench.stocked_shop()
    job_id = bench.begin(shop_id)
    late = bench.claim()
    assert late is not None
    bench.make_due()
    current = bench.claim()
    assert current is not None
    assert not carry_out(bench.parts(Steps()), late)
    assert bench.job(job_id).status is JobStatus.RUNNING
    assert carry_out(bench.parts(Steps()), current)
    bench.assert_gone(shop_id, job_id)


def test_it_waits_for_photos_under_work_and_gives_out_no_more(bench: Bench) -> None:
    shop_id = bench.stocked_shop()
    claims = {"lease_s": 60.0, "limit": 2}
    with bench.database.transaction() as session:
        others = update(Image).where(col(Image.shop_id) != shop_id)
        session.execute(others.values(status=ImageStatus.EMBEDDED))
        held = work.claim_embedding(session, max_attempts=5, **claims)
    assert {photo.shop_id for photo in held.photos} == {shop_id}
    job_id = bench.begin(shop_id)
    with bench.database.transaction() as session:
        photo_ids = select(col(Image.id)).where(col(Image.shop_id) == shop_id)
        last = session.scalars(photo_ids.order_by(col(Image.id).desc())).first()
        session.get_one(Image, last).status = ImageStatus.DELETING
    with bench.database.transaction() as session:
        assert work.claim_embedding(session, max_attempts=5, **claims).photos == []
        assert work.claim_deleting(session, **claims).photos == []
    assert not bench.work()
    bench.make_due()
    with bench.database.transaction() as session:
        session.execute(update(Image).values(lease_until=datetime.now(UTC) - timedelta(seconds=1)))
    assert bench.work()
    with bench.database.transaction() as session:
        assert work.renew(session, held.token, [photo.image_id for photo in held.photos], 60) == set()
    bench.assert_gone(shop_id, job_id)


@pytest.mark.parametrize("status", [ShopStatus.PENDING, ShopStatus.SUSPENDED])
def test_staff_delete_any_shop_once(bench: Bench, status: ShopStatus) -> None:
    shop_id = bench.stocked_shop()
    with bench.database.transaction() as session:
        session.get_one(Shop, shop_id).status = status
        email = session.get_one(Shop, shop_id).email
    job_id = bench.begin(shop_id)
    assert bench.begin(shop_id) == job_id
    with bench.database.transaction() as session:
        mail = session.scalars(select(Mail).where(col(Mail.shop_id) == shop_id)).one()
        assert mail.status is MailStatus.CANCELLED
    assert bench.work()
    bench.assert_gone(shop_id, job_id)
    with bench.database.transaction() as session:
        keys.create_shop(session, "Again", email)
    with pytest.raises(NotFound):
        bench.begin(shop_id)


def test_nothing_is_logged_for_a_closed_shop(bench: Bench) -> None:
    shop_id = bench.stocked_shop()
    open_shop = bench.stocked_shop()
    job_id = bench.begin(shop_id)
    with bench.database.transaction() as session:
        prompts.add(session, [new_prompt(shop_id), new_prompt(open_shop)])
        assert (rows_of(session, shop_id)[1], rows_of(session, open_shop)[1]) == (3, 4)
    with pytest.raises(NotAuthenticated), bench.database.transaction() as session:
        keys.lock_shop(session, shop_id)
    assert bench.work()
    with bench.database.transaction() as session:
        prompts.add(session, [new_prompt(shop_id), new_prompt(open_shop)])
    bench.assert_gone(shop_id, job_id)


WRITERS: dict[str, Callable[[Session, int], Any]] = {
    "upload": lock_open,
    "prompt": lambda session, shop_id: prompts.add(session, [new_prompt(shop_id)]),
    "claim": lambda session, _: work.claim_embedding(session, limit=9999, lease_s=60, max_attempts=5),
    "key": keys.lock_shop,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_the_deletion_waits_for_writers_under_way(bench: Bench, writer: str) -> None:
    shop_id = bench.stocked_shop()
    with ThreadPoolExecutor(1) as other:
        with bench.database.transaction() as session:
            WRITERS[writer](session, shop_id)
            begun = other.submit(bench.begin, shop_id)
            wait_for_a_lock(bench.database)
            assert not begun.done()
        assert begun.result(10) > 0


def wait_for_a_lock(database: Database) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with database.transaction() as session:
            if session.scalar(text(waiting)):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")
