"""Whatever workers, crashes, expiring leases and the shop do in whatever order: nothing is lost or doubled.

Workers take the steps of a real one, one at a time, against real rows; a dictionary stands for the index.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from db import images, late_writes, text_weights, work
from db.session import Database
from db.work import Claim
from models.image import Image, ImageStatus
from models.search import PhotoTerms
from models.shop import Shop
from tests.services import Photos, create_shop, make_live, photo_columns

VERSION = 7
CHOICE = st.integers(0, 1000)
DEEDS = ("describe", "reweigh", "replace", "delete", "nothing")
STEPS = (3, 2, 1, 0)
CATEGORIES = (None, 1, 2, 3)
WEIGHTS = (0.0, 0.25, 1.0)


@dataclass
class Worker:
    """A worker with its claim; ``photos`` shrinks to those that it still held before it wrote."""

    claim: Claim
    kind: Literal["embeds", "deletes", "describes"]
    checked: bool = False
    written: bool = False

    @property
    def ids(self) -> list[int]:
        return [photo.image_id for photo in self.claim.photos]


class Interleavings(RuleBasedStateMachine):
    database: Database

    @initialize()
    def start(self) -> None:
        with self.database.transaction() as session:
            session.execute(text("DELETE FROM shop"))
        self.shop = Photos(self.database, create_shop(self.database))
        (new,) = self.shop.add(1)
        (known,) = self.shop.add(1, status=ImageStatus.EMBEDDED, category_id=1, photo_sha256="a" * 64)
        self.alive = {new, known}
        self.index: dict[int, tuple[str, PhotoTerms, float]] = {known: ("a" * 64, PhotoTerms(1), 0.0)}
        self.workers: list[Worker] = []

    @rule(choice=CHOICE)
    def replace(self, choice: int) -> None:
        with self.database.transaction() as session:
            for image_id in self._visible(choice):
                row = images.get_for_update(session, self.shop.shop_id, image_id)
                assert row is not None
                images.replace_photo(row, photo_columns(uuid.uuid4().hex * 2))

    @rule(choice=CHOICE)
    def describe(self, choice: int) -> None:
        """The shop changes a photo's category."""
        with self.database.transaction() as session:
            for image_id in self._visible(choice):
                row = images.get_for_update(session, self.shop.shop_id, image_id)
                assert row is not None
                place = CATEGORIES.index(row.category_id) + 1
                row.category_id = CATEGORIES[place % len(CATEGORIES)]

    @rule(choice=CHOICE)
    def reweigh(self, choice: int) -> None:
        """The shop changes the weight of its texts, often back to what it was."""
        with self.database.transaction() as session:
            text_weights.change(session, self.shop.shop_id, WEIGHTS[choice % len(WEIGHTS)])

    @rule(choice=CHOICE)
    def delete(self, choice: int) -> None:
        with self.database.transaction() as session:
            for image_id in self._visible(choice):
                assert images.mark_deleting(session, self.shop.shop_id, image_id)
                self.alive.remove(image_id)

    @rule()
    def claim(self) -> None:
        """Three workers start, if there is work: one of each kind."""
        with self.database.transaction() as session:
            embedding = work.claim_embedding(session, limit=2, lease_s=60, max_attempts=1000)
            deletion = work.claim_deleting(session, limit=2, lease_s=60)
            metadata = work.claim_metadata(session, limit=2, lease_s=60)
        claims = [Worker(embedding, "embeds"), Worker(deletion, "deletes"), Worker(metadata, "describes")]
        self.workers += [worker for worker in claims if worker.ids]

    @rule()
    def leases_expire(self) -> None:
        with self.database.transaction() as session:
            expired = text(
                "UPDATE image SET lease_until = now() - interval '1 s' WHERE lease_until IS NOT NULL"
            )
            session.execute(expired)

    @rule(choice=CHOICE, deed=st.sampled_from(DEEDS), steps=st.sampled_from(STEPS))
    def every_worker_is_too_slow(self, choice: int, deed: str, steps: int) -> None:
        """The shortest way to trouble: they check their leases, lose them, and others do the work."""
        for worker in self.workers:
            if not worker.checked:
                self._check(worker)
        self.leases_expire()
        if deed != "nothing":
            getattr(self, deed)(choice)
        late = len(self.workers)
        self.claim()
        for worker in self.workers[late:]:
            for _ in range(steps):
                self._step(worker)

    @precondition(lambda self: self.workers)
    @rule(choice=CHOICE)
    def step(self, choice: int) -> None:
        self._step(self.workers[choice % len(self.workers)])

    @precondition(lambda self: self.workers)
    @rule(choice=CHOICE)
    def crash(self, choice: int) -> None:
        """Anywhere but between a write without the lease and its repair, which the audit has to find."""
        worker = self.workers[choice % len(self.workers)]
        if not worker.written or worker.kind == "deletes" or self._held(worker) == set(worker.ids):
            self.workers.remove(worker)

    @precondition(lambda self: self.workers)
    @rule(choice=CHOICE)
    def release(self, choice: int) -> None:
        """An outage; of terms, a write that failed may have happened."""
        worker = self.workers[choice % len(self.workers)]
        token, ids = worker.claim.token, worker.ids
        if worker.written and worker.kind != "describes":
            return
        with self.database.transaction() as session:
            if worker.kind == "describes":
                work.release_metadata(session, token, ids, delay_s=0)
            else:
                work.release(session, token, ids, delay_s=0, error="outage", count_attempt=False)
        self.workers.remove(worker)

    def teardown(self) -> None:
        if not hasattr(self, "workers"):
            return
        while self.workers:
            self.step(0)
        self.leases_expire()
        self._drain()
        with self.database.transaction() as session:
            rows = session.scalars(select(Image)).all()
            shop = session.get_one(Shop, self.shop.shop_id)
        assert {row.status for row in rows} <= {ImageStatus.EMBEDDED}
        assert {row.id for row in rows} == self.alive
        assert self.index == {
            row.id: (
                row.photo_sha256,
                PhotoTerms(row.category_id, row.style_id, row.age_group_id),
                shop.text_weight,
            )
            for row in rows
        }
        assert not shop.reindexing
        assert {row.item_weight for row in rows} <= {shop.text_weight}
        assert all(row.indexed_revision == row.metadata_revision for row in rows)

    def _step(self, worker: Worker) -> None:
        if not worker.checked:
            self._check(worker)
        elif not worker.written:
            self._write(worker)
        else:
            self._finish(worker)

    def _drain(self) -> None:
        self.claim()
        while self.workers:
            while self.workers:
                self.step(0)
            self.claim()

    def _check(self, worker: Worker) -> None:
        if worker.kind != "deletes":
            held = self._held(worker)
            kept = [photo for photo in worker.claim.photos if photo.image_id in held]
            worker.claim = Claim(worker.claim.token, kept)
        worker.checked = True

    def _write(self, worker: Worker) -> None:
        for photo in worker.claim.photos:
            if worker.kind == "deletes":
                self.index.pop(photo.image_id, None)
            elif worker.kind == "embeds":
                self.index[photo.image_id] = (photo.photo_sha256, photo.terms, photo.text_weight)
            elif photo.image_id in self.index:
                sha256, _, weight = self.index[photo.image_id]
                if photo.text_weight > 0 or photo.item_weight != 0:
                    sha256, weight = photo.photo_sha256, photo.text_weight
                self.index[photo.image_id] = (sha256, photo.terms, weight)
        worker.written = True

    def _finish(self, worker: Worker) -> None:
        self.workers.remove(worker)
        token = worker.claim.token
        with self.database.transaction() as session:
            if worker.kind == "deletes":
                work.finish_deleted(session, token, worker.ids)
            elif worker.kind == "describes":
                work.finish_metadata(session, token, worker.claim.photos)
            else:
                done = work.finish_embedded(session, token, worker.claim.photos, VERSION)
                undone = dict.fromkeys(set(worker.ids) - done, self.shop.shop_id)
                work.touch_lost(session, undone, token)
                gone = late_writes.find(session, token, undone).gone
                for image_id in gone.get(self.shop.shop_id, []):
                    self.index.pop(image_id, None)

    def _held(self, worker: Worker) -> set[int]:
        with self.database.transaction() as session:
            return work.renew(session, worker.claim.token, worker.ids, 60)

    def _visible(self, choice: int) -> list[int]:
        """One photo that the shop can see, or none."""
        with self.database.transaction() as session:
            rows = images.list_page(session, self.shop.shop_id, None, 100)
        found = [row.image.id for row in rows if row.image.id is not None]
        return [found[choice % len(found)]] if found else []


@pytest.fixture
def machine(own_database: Database) -> type[Interleavings]:
    make_live(own_database, VERSION, "some/model@1")
    return type("BoundInterleavings", (Interleavings,), {"database": own_database})


def test_every_photo_ends_embedded_as_described_and_every_deletion_leaves_nothing(
    machine: type[Interleavings],
) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    config = settings(
        max_examples=60, stateful_step_count=8, deadline=None, suppress_health_check=checks, derandomize=True
    )
    run_state_machine_as_test(machine, settings=config)


@pytest.mark.parametrize("first", ["describe", "reweigh"])
@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_late_worker_writes_is_put_right(machine: type[Interleavings], first: str, deed: str) -> None:
    """Too rare for the random walk: a photo is described anew, its worker loses the lease, others go on."""
    choices = (0,) if (first, deed) == ("describe", "nothing") else (0, 1)
    for choice, steps in itertools.product(choices, STEPS):
        walk = machine()
        walk.start()
        getattr(walk, first)(choice + 1)
        walk.claim()
        walk.every_worker_is_too_slow(choice=choice, deed=deed, steps=steps)
        walk.teardown()


@pytest.mark.parametrize("looks", [0, 1])
@pytest.mark.parametrize("then", WEIGHTS)
def test_a_weight_whose_worker_dies_after_its_write_is_written_or_taken_back(
    machine: type[Interleavings], then: float, looks: int
) -> None:
    walk = machine()
    walk.start()
    walk.reweigh(1)
    walk.claim()
    for worker in walk.workers:
        walk._check(worker)
        walk._write(worker)
    for _ in range(looks):
        walk.claim()
    walk.workers.clear()
    walk.reweigh(WEIGHTS.index(then))
    walk.leases_expire()
    walk.teardown()


def test_a_photo_that_is_embedded_while_the_weight_changes_follows(machine: type[Interleavings]) -> None:
    """The others are done, and the shop is no longer known to change its weight, when this one ends."""
    walk = machine()
    walk.start()
    walk.claim()
    (slow,) = walk.workers
    assert slow.kind == "embeds"
    walk.workers.clear()
    walk.reweigh(1)
    walk._drain()
    with walk.database.transaction() as session:
        assert not session.get_one(Shop, walk.shop.shop_id).reindexing
    walk.workers.append(slow)
    walk.teardown()
