"""The driver of a reindex on a real database and a real index; the cluster and the models are stand-ins."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest
from sqlalchemy import text

from configs.serving import AppArgs, ReindexArgs
from db import embeddings, index_versions, jobs, reindex_jobs, score_floors
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.errors import AppError, ConfigurationError, Conflict, DependencyUnavailable, NotFound
from models.image import Image, ImageStatus, IndexState, IndexVersion
from models.job import Job, JobStatus
from models.search import PhotoTerms
from serve_app.context import ServingContext
from serve_app.fill_version import Filled
from serve_app.ports import Vector
from serve_app.reindexing import checks, fill_passes, hold, run_reindex, upkeep
from serve_app.reindexing.hold import holding
from serve_app.reindexing.parts import Options, Outcome, ReindexParts, Stopped
from serve_app.served_model import ServedModel
from tests.fakes import DIMENSION, MODEL, vector_of
from tests.services import Photos, create_shop

COLOURS = ("red", "blue", "green", "black", "white", "grey", "pink", "yellow")
NAMES = [f"{colour} {garment}" for colour in COLOURS for garment in ("dress", "coat", "shirt", "bag")]
OTHER = replace(MODEL, source="/other", name="other", revision="2" * 40, key="other@2/p1")
THIRD = replace(MODEL, source="/third", name="third", revision="3" * 40, key="third@3/p1")
TURNED = np.linalg.qr(np.random.default_rng(3).normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32)
Rotation = Vector


@dataclass
class Towers:
    """A model whose space is turned; ``blind``: its photos do not lie where their names do."""

    turn: Rotation
    blind: bool = False

    def embed(self, texts: Sequence[str]) -> Vector:
        return cast(Vector, np.stack([vector_of(text) for text in texts]) @ self.turn)

    def photo(self, name: str) -> Vector:
        return cast(Vector, vector_of("nothing" + name if self.blind else name) @ self.turn)


class Watching:
    def __init__(self) -> None:
        self.phases: list[str] = []
        self.notes: list[str] = []
        self.done = (0, 0)

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def progress(self, done: int, total: int) -> None:
        self.done = (done, total)

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Cluster:
    """Serves models and fills partitions at once. ``before_fill`` may get in the way of a partition."""

    database: Database
    vectors: VectorStore
    towers: dict[str, Towers]
    unreadable: set[int] = field(default_factory=set)
    before_fill: Any = None
    served: set[int] = field(default_factory=set)
    filled: list[list[int]] = field(default_factory=list)
    _ended: list[Filled | AppError] = field(default_factory=list)
    _context: ServingContext | None = None

    def main_version(self) -> int:
        with self.database.transaction() as session:
            return index_versions.ids(session)[0]

    def deploy(self, context: ServingContext) -> None:
        self.served.add(context.version_id)

    def remove(self, version_id: int) -> None:
        self.served.discard(version_id)

    def written(self) -> set[int]:
        return self.served | {self.main_version()}

    def texts(self, version: IndexVersion) -> Towers:
        return self.towers[version.model_key]

    @contextmanager
    def partitions(self, context: ServingContext) -> Iterator[Cluster]:
        self._context, self._ended = context, []
        yield self

    def answering(self) -> str | None:
        with self.database.transaction() as session:
            live = index_versions.live(session)
        return next((one.label for one in (MODEL, OTHER, THIRD) if live and one.key == live.model_key), None)

    def start(self, image_ids: list[int]) -> None:
        self.filled.append(image_ids)
        assert len(self._ended) < 2, "reindex.max_tasks"
        try:
            if self.before_fill is not None:
                self.before_fill(image_ids)
            self._ended.append(self._fill(image_ids))
        except AppError as error:
            self._ended.append(error)

    def running(self) -> int:
        return len(self._ended)

    def finished(self, timeout_s: float) -> list[Filled | AppError]:
        assert timeout_s > 0
        return [self._ended.pop(0)] if self._ended else []

    def _fill(self, image_ids: list[int]) -> Filled:
        assert self._context is not None
        version_id, key = self._context.version_id, self._context.model.key
        readable = [one for one in image_ids if one not in self.unreadable]
        with self.database.transaction() as session:
            rows = [cast(Image, session.get(Image, image_id)) for image_id in readable]
            found = {row.id or 0: self.towers[key].photo(row.name) for row in rows}
            hashes = [(row.id or 0, row.photo_sha256, found[row.id or 0]) for row in rows]
            embeddings.save(session, key, hashes)
        for row in rows:
            terms = PhotoTerms(row.category_id, row.style_id, row.age_group_id)
            record = VectorRecord(row.id or 0, found[row.id or 0], row.photo_sha256, terms)
            self.vectors.upsert(version_id, row.shop_id, [record])
        broken = {one: "This is no photo." for one in image_ids if one in self.unreadable}
        return Filled(len(readable), broken)


@dataclass
class World:
    database: Database
    vectors: VectorStore
    cluster: Cluster
    shop_id: int
    ids: list[int]
    watcher: Watching = field(default_factory=Watching)
    stop: threading.Event = field(default_factory=threading.Event)
    lease_s: float = 5.0

    @property
    def parts(self) -> ReindexParts:
        args = AppArgs(reindex=ReindexArgs(partition_photos=8))
        return ReindexParts(self.database, self.vectors, args, self.cluster, self.watcher)

    def reindex(self, model: ServedModel = OTHER, **options: bool) -> Outcome:
        with holding(self.database, {"model": model.key}, self.stop, self.lease_s) as held:
            return run_reindex.reindex(self.parts, held, model, Options(**options))

    def states(self) -> dict[str, IndexState]:
        with self.database.transaction() as session:
            return {one.model_key: one.state for one in index_versions.all_versions(session)}

    def version(self, model: ServedModel) -> IndexVersion:
        with self.database.transaction() as session:
            found = index_versions.of_model(session, model.key)
            assert found is not None
            return found

    def job(self) -> Job:
        with self.database.transaction() as session:
            job = reindex_jobs.newest(session)
            assert job is not None
            return job

    def execute(self, statement: str, **values: Any) -> None:
        with self.database.transaction() as session:
            session.execute(text(statement), values)


@pytest.fixture
def world(own_database: Database, vectors: VectorStore, monkeypatch: pytest.MonkeyPatch) -> World:
    for module, name in (
        (fill_passes, "WAIT_S"),
        (checks, "LOOK_S"),
        (hold, "LOOK_S"),
        (run_reindex, "LOOK_S"),
    ):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(checks, "FLOORS_PATIENCE_S", 0.1)
    with own_database.transaction() as session:
        for table in ("image", "index_version", "job", "score_floor", "shop"):
            session.execute(text(f"DELETE FROM {table}"))
    shop_id = create_shop(own_database)
    photos = Photos(own_database, shop_id)
    ids = [photos.add(name=name, status=ImageStatus.EMBEDDED)[0] for name in NAMES]
    with own_database.transaction() as session:
        live = index_versions.ensure_live(session, MODEL.key, DIMENSION, MODEL.source, MODEL.revision)
        rows = [cast(Image, session.get(Image, one)) for one in ids]
        seen = [(row.id or 0, row.photo_sha256, vector_of(row.name)) for row in rows]
        embeddings.save(session, MODEL.key, seen)
    records = [VectorRecord(one, vector, sha256) for one, sha256, vector in seen]
    vectors.upsert(live.id or 0, shop_id, records)
    towers = {MODEL.key: Towers(np.eye(DIMENSION, dtype=np.float32)), OTHER.key: Towers(TURNED)}
    towers[THIRD.key] = Towers(TURNED.T.copy(), blind=True)
    return World(own_database, vectors, Cluster(own_database, vectors, towers, served=set()), shop_id, ids)


def test_a_model_is_filled_compared_and_made_live(world: World) -> None:
    outcome = world.reindex()
    assert (outcome.state, outcome.photos, outcome.reasons) == ("live", len(NAMES), [])
    assert world.states() == {MODEL.key: IndexState.RETIRED, OTHER.key: IndexState.LIVE}
    assert [len(ids) for ids in world.cluster.filled] == [8, 8, 8, 8]
    assert world.vectors.ids(outcome.version_id, world.shop_id) == set(world.ids)
    job = world.job()
    assert (job.status, job.shop_id, job.lease_until) == (JobStatus.SUCCEEDED, None, None)
    assert job.counts["filled"] == job.counts["photos"] == len(NAMES)
    assert job.counts["gate"]["passed"] is True
    assert world.watcher.phases[-1] == "done"


def test_the_same_command_again_finds_it_done(world: World) -> None:
    first = world.reindex()
    again = world.reindex()
    assert (again.state, again.version_id) == ("live", first.version_id)
    assert len(world.cluster.filled) == 4


def test_a_bad_model_is_stopped_and_force_needs_no_filling(world: World) -> None:
    outcome = world.reindex(THIRD)
    assert outcome.state == "stopped"
    assert any("recall@1 falls" in reason for reason in outcome.reasons)
    assert world.states()[THIRD.key] is IndexState.BUILDING
    assert (world.job().status, world.job().error) == (JobStatus.FAILED, " ".join(outcome.reasons)[:1000])
    filled = len(world.cluster.filled)
    forced = world.reindex(THIRD, force=True)
    assert (forced.state, len(world.cluster.filled)) == ("live", filled)
    assert forced.reasons == outcome.reasons


def test_without_flip_the_live_version_stays(world: World) -> None:
    assert world.reindex(flip=False).state == "ready"
    assert world.states()[OTHER.key] is IndexState.BUILDING
    assert world.reindex().state == "live"


def test_what_fails_is_filled_in_the_next_pass(world: World) -> None:
    failed: list[int] = []

    def fail_once(image_ids: list[int]) -> None:
        if not failed:
            failed.extend(image_ids)
            raise DependencyUnavailable("The search index does not answer.")

    world.cluster.before_fill = fail_once
    assert world.reindex().state == "live"
    assert world.cluster.filled[-1] == failed
    assert "tried again in a moment: The search index does not answer." in world.watcher.notes


def test_a_model_that_cannot_be_loaded_ends_the_command(world: World) -> None:
    def refuse(_: list[int]) -> None:
        raise ConfigurationError("The checkpoint is not here.")

    world.cluster.before_fill = refuse
    with pytest.raises(ConfigurationError):
        world.reindex()
    assert (world.job().status, world.job().error) == (JobStatus.FAILED, "The checkpoint is not here.")


def test_a_stopped_command_goes_on_where_it_was(world: World) -> None:
    world.cluster.before_fill = lambda _: world.stop.set()
    with pytest.raises(Stopped):
        world.reindex()
    assert world.job().status is JobStatus.CANCELLED
    filled = {one for ids in world.cluster.filled for one in ids}
    assert 0 < len(filled) < len(NAMES)
    world.cluster.before_fill, world.cluster.filled = None, []
    world.stop.clear()
    assert world.reindex().state == "live"
    assert {one for ids in world.cluster.filled for one in ids} == set(world.ids) - filled


def test_photos_that_cannot_be_read_stop_the_flip_where_they_are_many(world: World) -> None:
    world.cluster.unreadable = {world.ids[0]}
    outcome = world.reindex()
    assert outcome.state == "stopped"
    assert outcome.unreadable == {world.ids[0]: "This is no photo."}
    assert any("1 of 32 photos cannot be read" in reason for reason in outcome.reasons)
    assert world.reindex(force=True).state == "live"
    row = Photos(world.database, world.shop_id).read(world.ids[0])
    assert (row.status, row.error) == (ImageStatus.FAILED, "This is no photo.")


def test_a_photo_that_comes_before_the_flip_is_filled_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[int] = []
    real = run_reindex.compare

    def upload(*arguments: Any) -> Any:
        late.extend(Photos(world.database, world.shop_id).add(name="late hat", status=ImageStatus.EMBEDDED))
        return real(*arguments)

    monkeypatch.setattr(run_reindex, "compare", upload)
    assert world.reindex().state == "live"
    assert world.cluster.filled[-1] == late


def test_a_lost_entry_is_repaired_before_the_flip(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fill_passes.FillPasses.complete

    def damage(passes: fill_passes.FillPasses) -> None:
        real(passes)
        world.vectors.delete(world.version(OTHER).id or 0, world.shop_id, world.ids[:3])
        monkeypatch.setattr(fill_passes.FillPasses, "complete", real)

    monkeypatch.setattr(fill_passes.FillPasses, "complete", damage)
    outcome = world.reindex()
    assert world.vectors.ids(outcome.version_id, world.shop_id) == set(world.ids)


def test_one_driver_at_a_time(world: World) -> None:
    with holding(world.database, {"model": "x"}, world.stop, 1.0), pytest.raises(Conflict, match="at work"):
        world.reindex()
    assert world.states() == {MODEL.key: IndexState.LIVE}
    assert world.job().status is JobStatus.SUCCEEDED


def test_a_killed_drivers_job_is_taken_over_once_its_lease_is_out(world: World) -> None:
    world.lease_s = 1.0
    with world.database.transaction() as session:
        killed = reindex_jobs.start(session, {"model": OTHER.key}, 0.3)
        reindex_jobs.save(session, killed, {"filled": 3}, 0.3)
    assert world.reindex().state == "live"
    assert (world.job().id, world.job().attempts) == (killed.job_id, 2)
    with world.database.transaction() as session:
        other = reindex_jobs.start(session, {"action": "prune"}, 0.0)
        assert reindex_jobs.start(session, {"action": "abort"}, 9.0).job_id != other.job_id
        assert not reindex_jobs.save(session, other, {}, 9.0)
        assert not jobs.retry(session, other.job_id)
        ended = session.get_one(Job, other.job_id, populate_existing=True)
        assert (ended.status, ended.error) == (JobStatus.FAILED, "its driver ended without a word")


def test_a_driver_that_lost_its_lease_stops(world: World) -> None:
    world.lease_s = 0.05
    taken = threading.Event()

    def take_over(_: list[int]) -> None:
        if not taken.is_set():
            taken.set()
            world.execute("UPDATE job SET lease_token = 'another', lease_until = now() + interval '1 hour'")
            threading.Event().wait(0.2)

    world.cluster.before_fill = take_over
    with pytest.raises(Conflict, match="taken over"):
        world.reindex()
    assert world.job().status is JobStatus.RUNNING
    assert world.states()[OTHER.key] is IndexState.BUILDING


def test_back_to_the_former_version_and_what_is_retired_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "context_of", lambda args, version: ServingContext(args, MODEL, version.id))
    new = world.reindex()
    with (
        pytest.raises(Conflict, match="less than 60 s"),
        holding(world.database, {"action": "prune"}, world.stop) as held,
    ):
        upkeep.prune(world.parts, held)
    (late,) = Photos(world.database, world.shop_id).add(name="late hat", status=ImageStatus.EMBEDDED)
    former = upkeep.former_context(world.parts).model
    world.cluster.filled = []
    assert world.reindex(former, report_only=True).state == "live"
    assert world.cluster.filled == [[late]]
    with world.database.transaction() as session:
        assert score_floors.waiting(session, MODEL.key, score_floors.now(session)) == 1, "computed anew"
    assert "1 shops get their score floor later" in world.watcher.notes
    assert world.states() == {MODEL.key: IndexState.LIVE, OTHER.key: IndexState.RETIRED}
    world.execute("UPDATE index_version SET live_at = now() - interval '61 s'")
    with holding(world.database, {"action": "prune"}, world.stop) as held:
        assert upkeep.prune(world.parts, held) == [new.version_id]
    assert world.states() == {MODEL.key: IndexState.LIVE}
    assert not world.vectors.exists(new.version_id, world.shop_id)
    assert world.cluster.served == set()
    with world.database.transaction() as session:
        assert not embeddings.load(session, world.shop_id, OTHER.key)
        assert len(embeddings.load(session, world.shop_id, MODEL.key)) == len(NAMES) + 1
    with pytest.raises(NotFound):
        upkeep.former_context(world.parts)


def test_vectors_that_another_version_shares_are_kept(world: World) -> None:
    live = world.version(MODEL)
    world.execute(
        "INSERT INTO index_version (model_key, dimension, state) VALUES (:key, 16, 'retired')", key=MODEL.key
    )
    world.execute("UPDATE index_version SET live_at = NULL")
    with holding(world.database, {"action": "prune"}, world.stop) as held:
        assert len(upkeep.prune(world.parts, held)) == 1
    with world.database.transaction() as session:
        assert [one.id for one in index_versions.all_versions(session)] == [live.id]
        assert len(embeddings.load(session, world.shop_id, MODEL.key)) == len(NAMES)


def test_a_version_is_given_up_and_begun_again(world: World) -> None:
    with pytest.raises(NotFound):
        upkeep.give_up(world.database, world.cluster)
    first = world.reindex(THIRD)
    with pytest.raises(Conflict, match="is being built"):
        world.reindex(OTHER)
    assert upkeep.give_up(world.database, world.cluster) == first.version_id
    assert world.states()[THIRD.key] is IndexState.RETIRED
    assert world.cluster.served == set()
    with pytest.raises(NotFound):
        upkeep.former_context(world.parts)
    filled = len(world.cluster.filled)
    assert world.reindex(THIRD).version_id == first.version_id
    assert len(world.cluster.filled) == filled


def test_the_status_names_versions_and_the_job(world: World) -> None:
    world.reindex(THIRD)
    found = upkeep.status(world.database)
    assert [(one["state"], one["photos"], one["embedded"]) for one in found["versions"]] == [
        ("live", 32, 32),
        ("building", 32, 32),
    ]
    assert (found["job"]["status"], found["job"]["at_work"]) == (JobStatus.FAILED, False)
