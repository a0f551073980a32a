"""Damaged collections, on a real PostgreSQL and a real Chroma: found exactly, and repaired."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from db import index_audits, index_repairs, late_writes, score_floors
from db.index_audits import ClaimedAudit
from db.late_writes import Late
from db.vectors import VectorRecord
from models.errors import Conflict
from models.image import Embedding, Image, ImageStatus
from models.index_audit import Finding, IndexAudit
from models.search import PhotoTerms
from serve_app.audit_index import audit_claimed, foreign_collections, remove_foreign
from serve_app.repair_index import CollectionOf, write_anew
from tests.audit_bench import MODEL, Bench, MakeBench, Meanwhile, make_bench, quick_rounds, unit

__all__ = ["make_bench", "quick_rounds"]
DAMAGES = st.lists(
    st.sampled_from(["missing", "stale", "terms", "different", "none"]), min_size=12, max_size=12
)


@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(damages=DAMAGES, strays=st.integers(0, 3))
def test_random_damage_is_found_exactly_and_repaired(
    make_bench: MakeBench, damages: list[str], strays: int
) -> None:
    bench = make_bench()
    ids = bench.add(12)
    expected: dict[Finding, set[int]] = {}
    for one, damage in zip(ids, damages, strict=True):
        if damage != "none":
            kind = Finding("stale" if damage == "terms" else damage)
            expected.setdefault(kind, set()).add(one)
            hurt(bench, one, damage)
    foreign = [10**8 + number for number in range(strays)]
    if foreign:
        bench.put([VectorRecord(one, unit(one), "f" * 64) for one in foreign])
        expected[Finding.ORPHANED] = set(foreign)
    found = bench.audit()
    assert found.found == {kind: len(own) for kind, own in expected.items()}
    for kind, own in found.examples.items():
        assert expected[kind].issuperset(own)
    revisions = {one: bench.photos.read(one).vector_revision for one in ids}
    repaired = bench.audit(repair=True)
    assert (repaired.found, repaired.repaired, repaired.left) == (found.found, found.found, 0)
    bench.assert_equal()
    assert {one: bench.photos.read(one).vector_revision for one in ids} == revisions


def hurt(bench: Bench, image_id: int, damage: str) -> None:
    (entry,) = bench.store.read(*bench.place, [image_id]).values()
    if damage == "missing":
        bench.store.delete(*bench.place, [image_id])
    elif damage == "stale":
        bench.put([replace(entry, photo_sha256="0" * 64)])
    elif damage == "terms":
        bench.put([replace(entry, terms=PhotoTerms(None, 3, None))])
    else:
        bench.put([replace(entry, vector=unit(image_id, 1))])


@pytest.mark.parametrize("entries", [3, 0])
def test_a_collection_of_another_dimension_is_made_anew(make_bench: MakeBench, entries: int) -> None:
    """As a Chroma directory of another installation has them; Chroma refuses to write into it."""
    bench = make_bench()
    ids = bench.add(3)
    bench.store.drop(*bench.place)
    bench.put([VectorRecord(one, unit(one)[:8], "0" * 64) for one in ids])
    bench.store.delete(*bench.place, ids[entries:])
    found = bench.audit()
    assert found.found.total() == 3
    repaired = bench.audit(repair=True)
    assert (repaired.found, repaired.repaired) == (found.found, found.found)
    assert (repaired.left, repaired.rebuilt) == (0, True)
    bench.assert_equal()


def test_a_collection_of_another_dimension_goes_where_the_shop_has_no_photo(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.put([VectorRecord(10**8, unit(1)[:8], "0" * 64)])
    assert bench.audit(repair=True).left == 0
    assert not bench.store.exists(*bench.place)
    bench.upload(1)
    bench.work()
    bench.assert_equal()


def test_repair_beside_uploads_deletions_and_changes_loses_nothing(make_bench: MakeBench) -> None:
    bench = make_bench()
    kept, deleted = bench.add(8), bench.add(8)
    over = threading.Event()
    failures: list[BaseException] = []

    def shop_works() -> None:
        try:
            for number, one in enumerate(deleted):
                bench.upload(1)
                bench.photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), one)
                bench.photos.change(categorise, kept[number])
                bench.work()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            over.set()

    worker = threading.Thread(target=shop_works)
    worker.start()
    while not over.is_set():
        for place, one in enumerate(kept[::3]):
            entry = bench.store.read(*bench.place, [one]).get(one)
            if entry is not None and place % 2:
                bench.store.delete(*bench.place, [one])
        assert bench.audit(repair=True).left == 0
    worker.join()
    assert failures == []
    for one in deleted:
        del bench.vectors[one]
    for _ in range(8):  # what was leased to the audit when the worker looked
        bench.work()
    bench.audit(repair=True)
    bench.assert_equal()


@pytest.mark.parametrize("moment", ["before read", "after ids"])
def test_a_photo_that_is_deleted_while_it_is_compared_is_no_finding(
    make_bench: MakeBench, chroma_url: str, moment: str
) -> None:
    store = Meanwhile(chroma_url)
    bench = make_bench(store)
    gone, _ = bench.add(2)
    store.hooks[moment] = lambda: bench.remove(gone)
    report = bench.audit()
    assert (report.found, report.photos, bench.vectors.keys() & {gone}) == ({}, 2, set())


def test_a_photo_that_is_changed_while_it_is_compared_is_no_finding(
    make_bench: MakeBench, chroma_url: str
) -> None:
    store = Meanwhile(chroma_url)
    bench = make_bench(store)
    one, _ = bench.add(2)

    def change() -> None:
        bench.photos.change(categorise, one)
        bench.work()

    store.hooks["before read"] = change
    assert bench.audit().found == {}
    bench.assert_equal()


def categorise(image: Image) -> None:
    image.category_id = 1 + (image.id or 0) % 3


def test_an_entry_that_a_dead_worker_wrote_late_is_removed(make_bench: MakeBench) -> None:
    """It was killed after its write to Chroma, before it found its lease lost."""
    bench = make_bench()
    kept, gone = bench.add(1), bench.add(1)
    (late,) = bench.store.read(*bench.place, gone).values()
    bench.remove(gone[0])
    bench.put([late])
    report = bench.audit(repair=True)
    assert (report.repaired, report.examples) == ({Finding.ORPHANED: 1}, {Finding.ORPHANED: gone})
    assert bench.vectors.keys() == set(kept)
    bench.assert_equal()


def test_a_failed_photos_entry_goes_and_those_under_work_are_left_alone(make_bench: MakeBench) -> None:
    bench = make_bench()
    failed, leased, behind, waiting = bench.add(4)
    bench.photos.change(lambda image: setattr(image, "status", ImageStatus.FAILED), failed)
    until = datetime.now(UTC) + timedelta(minutes=1)
    bench.photos.change(lambda image: setattr(image, "lease_until", until), leased)
    bench.photos.change(lambda image: setattr(image, "category_id", 1), behind)
    bench.photos.change(lambda image: setattr(image, "status", ImageStatus.PENDING), waiting)
    bench.store.delete(*bench.place, [leased, behind])
    report = bench.audit(repair=True)
    assert (report.repaired, report.busy) == ({Finding.ORPHANED: 1}, 2)
    assert bench.store.ids(*bench.place) == {waiting}


@pytest.mark.parametrize("damage", ["no row", "nan", "short"])
def test_a_photo_whose_vector_postgresql_lost_is_embedded_again(make_bench: MakeBench, damage: str) -> None:
    bench = make_bench()
    one, _ = bench.add(2)
    with bench.photos.database.transaction() as session:
        row = session.get_one(Embedding, (one, MODEL))
        if damage == "no row":
            session.delete(row)
        else:
            row.vector = unit(one).tobytes()[:60] if damage == "short" else b"\xff" * 64
    assert bench.audit().found == {Finding.DAMAGED: 1}
    assert bench.photos.read(one).status is ImageStatus.EMBEDDED
    assert bench.audit(repair=True).repaired == {Finding.DAMAGED: 1}
    assert bench.photos.read(one).status is ImageStatus.PENDING
    with bench.photos.database.transaction() as session:
        assert session.get(Embedding, (one, MODEL)) is None
    assert bench.audit().found == {}


def test_versions_that_are_not_live_may_lack_photos_and_a_retired_ones_terms_are_old(
    make_bench: MakeBench,
) -> None:
    bench = make_bench()
    known, unknown, removed = bench.add(3)
    for state in ("building", "retired"):
        with bench.photos.database.transaction() as session:
            session.execute(text("UPDATE index_version SET state = :state"), {"state": state})
            session.execute(text("DELETE FROM embedding WHERE image_id = :id"), {"id": unknown})
            version = session.get_one(type(bench.version), bench.version.id)
        bench.version = version
        bench.store.delete(*bench.place, [removed])
        hurt(bench, known, "terms")
        report = bench.audit(repair=True)
        stale = {} if state == "retired" else {Finding.STALE: 1}
        assert (report.repaired, report.unfilled) == ({Finding.MISSING: 1, **stale}, 1)
        assert bench.photos.read(unknown).status is ImageStatus.EMBEDDED


def test_one_works_on_a_collection_and_others_are_told(make_bench: MakeBench) -> None:
    bench = make_bench()
    ids = bench.add(3)
    bench.store.delete(*bench.place, ids[:1])
    with bench.photos.database.transaction() as session:
        session.execute(text("UPDATE shop SET created_at = now() - interval '2 hours'"))
        assert index_audits.claim_due(session, every_h=3, lease_s=60) is None
        claimed = index_audits.claim_due(session, every_h=1, lease_s=60)
    assert claimed is not None
    assert (claimed.version_id, claimed.shop_id) == bench.place
    with pytest.raises(Conflict, match="audited or rebuilt by another"):
        bench.audit()
    assert audit_claimed(bench.parts, claimed, repair=True) is not None
    with bench.photos.database.transaction() as session:
        row = session.get_one(IndexAudit, bench.place)
        assert (row.found["found"], row.repaired, row.lease_token) == ({"missing": 1}, {"missing": 1}, None)
        assert row.audited_at is not None
        assert index_audits.claim_due(session, every_h=1, lease_s=60) is None
    bench.assert_equal()


def test_a_small_catalogue_is_due_whenever_it_rests_after_a_change(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.add(5)

    def due(soon: range) -> ClaimedAudit | None:
        with bench.photos.database.transaction() as session:
            return index_audits.claim_due(session, every_h=1, lease_s=60, soon=soon)

    def computes_floor() -> None:
        with bench.photos.database.transaction() as session:
            score_floors.note_change(session, bench.version.model_key, [bench.photos.shop_id])
        with bench.photos.database.transaction() as session:
            args = {"quiet_s": 0.0, "at_most_s": 0.0, "lease_s": 60.0}
            floor = score_floors.claim(session, bench.version.model_key, **args)
            assert floor is not None
            score_floors.finish(session, floor, 0.5)

    assert due(range(4, 6)) is None
    computes_floor()
    assert [due(soon) for soon in (range(5, 9), range(0), range(2, 4))] == [None] * 3
    claimed = due(range(4, 5))
    assert claimed is not None
    computes_floor()  # a change while it is compared
    assert audit_claimed(bench.parts, claimed, repair=True) is not None
    claimed = due(range(4, 5))
    assert claimed is not None
    assert audit_claimed(bench.parts, claimed, repair=True) is not None
    assert due(range(4, 5)) is None


def test_a_repair_that_outlives_its_lease_leaves_no_trace_of_itself(make_bench: MakeBench) -> None:
    bench = make_bench()
    gone, deleting, other = bench.add(3)
    with bench.photos.database.transaction() as session:
        held = index_repairs.claim(session, bench.version, bench.photos.shop_id, [gone, deleting, other], 60)
    assert held.ids == {gone, deleting, other}
    assert write_anew(bench.parts, CollectionOf(bench.version, bench.photos.shop_id), held.ids) == set()

    def taken(image: Image) -> None:
        image.lease_token, image.lease_until = "another", datetime.now(UTC) + timedelta(minutes=1)

    bench.photos.change(taken, deleting, other)
    bench.photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), deleting)
    with bench.photos.database.transaction() as session:
        session.execute(text("DELETE FROM image WHERE id = :id"), {"id": gone})
    with bench.photos.database.transaction() as session:
        shops = dict.fromkeys(held.ids, bench.photos.shop_id)
        assert late_writes.give_back(session, held.token, shops) == Late(
            {bench.photos.shop_id: [gone]}, set()
        )
    assert bench.photos.read(deleting).lease_token is None, "its deletion starts over"
    late = bench.photos.read(other)
    assert (late.lease_token, late.item_weight) == ("another", None)
    assert late.metadata_revision == late.indexed_revision + 1, "it is described anew"


def test_collections_of_what_does_not_exist_are_found_and_removed(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.add(1)
    version_id, shop_id = bench.place
    of_no_shop, of_no_version = (version_id, 2**30), (version_id + 1, shop_id)
    for place in (of_no_shop, of_no_version):
        bench.store.upsert(*place, [VectorRecord(1, unit(1), "a" * 64)])
    found = foreign_collections(bench.parts)
    assert {of_no_shop, of_no_version} <= set(found)
    assert bench.place not in found
    remove_foreign(bench.parts, [of_no_shop, of_no_version])
    assert not any(bench.store.exists(*place) for place in (of_no_shop, of_no_version))
    with pytest.raises(Conflict, match="another one's index"):
        remove_foreign(bench.parts, [*bench.store.collections()])
    assert bench.store.exists(*bench.place)
