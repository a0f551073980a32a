"""Photos that the graph lost, and collections made anew while they are asked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from unittest.mock import DEFAULT, patch

import numpy as np
import pytest
from chromadb.errors import InternalError

from configs.serving import CollectionArgs
from db import embeddings
from db.vectors import VectorRecord, VectorStore
from models.errors import AppError
from models.image import ImageStatus
from models.index_audit import Finding
from models.search import Hit
from serve_app.audit_index import rebuild_collection
from serve_app.ports import Vector
from tests.audit_bench import Bench, MakeBench, Meanwhile, make_bench, quick_rounds, unit

__all__ = ["make_bench", "quick_rounds"]
TOO_FEW_LINKS = CollectionArgs(max_neighbors=2, ef_construction=2, ef_search=2)


def test_a_graph_that_lost_photos_is_built_anew(make_bench: MakeBench, chroma_url: str) -> None:
    """A real one, with so few links that most photos cannot be reached."""
    bench = make_bench(VectorStore(chroma_url, TOO_FEW_LINKS), page_photos=300, sample=40)
    bench.add(300)
    report = bench.audit()
    assert report.found.keys() == {Finding.UNREACHABLE}
    assert report.found[Finding.UNREACHABLE] > 10
    bench.parts.vectors._hnsw.update(CollectionArgs().model_dump())
    report = bench.audit(repair=True)
    assert (report.rebuilt, report.left) == (True, 0)
    bench.assert_equal()


class Losing(VectorStore):
    """Simulates a graph that lost the way to some entries; ``cure`` is what brings them back."""

    lost: set[int] = set()  # noqa: RUF012
    cure = ""
    removed: set[int] = set()  # noqa: RUF012

    def query(self, version_id: int, shop_id: int, vectors: Vector, k: int) -> list[list[Hit]]:
        found = super().query(version_id, shop_id, vectors, k + len(self.lost))
        return [[hit for hit in hits if hit.image_id not in self.lost][:k] for hits in found]

    def delete(self, version_id: int, shop_id: int, image_ids: Sequence[int]) -> None:
        super().delete(version_id, shop_id, image_ids)
        self.removed |= set(image_ids)

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        super().upsert(version_id, shop_id, records)
        written = {one.image_id for one in records}
        if self.cure == "upsert" or (self.cure == "delete" and self.removed >= written):
            self.lost -= written

    def swap_in(self, version_id: int, shop_id: int) -> None:
        super().swap_in(version_id, shop_id)
        self.lost.clear()


@pytest.mark.parametrize("cure", ["upsert", "delete", "rebuild"])
def test_a_lost_photo_is_brought_back_by_the_least_that_helps(
    make_bench: MakeBench, chroma_url: str, cure: str
) -> None:
    store = Losing(chroma_url, CollectionArgs())
    bench = make_bench(store, sample=40)
    ids = bench.add(40)
    store.cure, store.lost, store.removed = cure, {ids[7], ids[8]}, set()
    assert bench.audit().found == {Finding.UNREACHABLE: 2}
    report = bench.audit(repair=True)
    assert (report.repaired, report.rebuilt) == ({Finding.UNREACHABLE: 2}, cure == "rebuild")
    assert bool(store.removed) == (cure != "upsert")
    bench.assert_equal()


def test_equal_photos_find_each_other(make_bench: MakeBench) -> None:
    bench = make_bench()
    ids = bench.add(30)
    bench.vectors = dict.fromkeys(ids, bench.vectors[ids[0]])
    with bench.photos.database.transaction() as session:
        rows = [(one, bench.photos.read(one).photo_sha256, vector) for one, vector in bench.vectors.items()]
        embeddings.save(session, bench.version.model_key, rows)
    assert bench.audit(repair=True).found == {Finding.DIFFERENT: 29}
    bench.assert_equal()


def asked_all_the_time(bench: Bench, url: str, over: threading.Event, answers: Counter[str]) -> None:
    """As replicas ask that know the collection, and as one that has just started."""
    known, query = VectorStore(url, CollectionArgs()), np.stack([*bench.vectors.values()][:1])
    while not over.is_set():
        for store in (known, known, known, VectorStore(url, CollectionArgs())):
            try:
                (hits,) = store.query(*bench.place, query, 5)
                answers["whole" if len(hits) == 5 else f"{len(hits)} photos"] += 1
            except AppError as error:
                answers[repr(error.__cause__)] += 1


def test_nobody_notices_that_a_collection_is_made_anew(make_bench: MakeBench, chroma_url: str) -> None:
    bench = make_bench(page_photos=100)
    bench.add(60)
    over, answers = threading.Event(), Counter[str]()
    askers = [
        threading.Thread(target=asked_all_the_time, args=(bench, chroma_url, over, answers)) for _ in range(2)
    ]
    for one in askers:
        one.start()
    for _ in range(2):
        rebuild_collection(bench.parts, bench.version, bench.photos.shop_id)
        bench.upload(3)
        bench.work()
    over.set()
    for one in askers:
        one.join()
    assert answers.keys() == {"whole"}, answers
    bench.assert_equal()


def test_uploads_and_deletions_during_a_rebuild_are_not_lost(make_bench: MakeBench) -> None:
    bench = make_bench(page_photos=5)
    deleted = bench.add(20)
    done = threading.Event()

    def rebuild() -> None:
        try:
            for _ in range(2):
                rebuild_collection(bench.parts, bench.version, bench.photos.shop_id)
        finally:
            done.set()

    rebuilding = threading.Thread(target=rebuild)
    rebuilding.start()
    while not done.is_set() and deleted:
        bench.upload(2)
        one = deleted.pop()
        del bench.vectors[one]
        bench.photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), one)
        bench.work()
    rebuilding.join()
    bench.work_until_done()
    bench.audit(repair=True)
    bench.assert_equal()


def test_what_is_written_into_the_former_collection_is_written_again(
    make_bench: MakeBench, chroma_url: str
) -> None:
    store = Meanwhile(chroma_url)
    bench = make_bench(store)
    first, *_ = bench.add(5)

    def at_the_last_moment() -> None:
        bench.upload(1)
        bench.remove(first)

    store.hooks["before swap"] = at_the_last_moment
    assert rebuild_collection(bench.parts, bench.version, bench.photos.shop_id).left == 0
    bench.assert_equal()


def test_a_query_of_a_collection_that_goes_at_that_moment_is_asked_again(make_bench: MakeBench) -> None:
    """Chroma has other words than "not found" for one that it is removing."""
    bench = make_bench()
    (one,) = bench.add(1)
    gone = InternalError("Missing field: [Missing metadata segment]")
    with patch.object(bench.store, "_queries", wraps=bench.store._queries) as queries:
        queries.nearest.side_effect = [gone, DEFAULT]
        (hits,) = bench.store.query(*bench.place, bench.vectors[one][np.newaxis], 3)
    assert [hit.image_id for hit in hits] == [one]
    assert queries.nearest.call_count == 2


def test_after_the_loss_of_all_of_chroma_photos_come_back_in_place(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.add(30)
    bench.store.drop(*bench.place)
    assert bench.audit().found == {Finding.MISSING: 30}
    assert rebuild_collection(bench.parts, bench.version, bench.photos.shop_id).left == 0
    bench.assert_equal()


@pytest.mark.parametrize("step", ["first rename", "second rename"])
def test_a_swap_that_a_crash_interrupted_is_settled(
    make_bench: MakeBench, chroma_url: str, step: str
) -> None:
    bench = make_bench()
    bench.add(5)
    bench.store.beside().upsert(*bench.place, [VectorRecord(1, np.ones(16, np.float32), "a" * 64)])
    client, name = bench.store._connected(), "v{}-shop{}".format(*bench.place)
    client.get_collection(name, embedding_function=None).modify(name=f"{name}-former")
    fresh = VectorStore(chroma_url, CollectionArgs())
    assert len(fresh.ids(*bench.place)) == 5, "the former one answers meanwhile"
    if step == "second rename":
        client.get_collection(f"{name}-beside", embedding_function=None).modify(name=name)
    assert bench.audit(repair=True).left == 0
    assert {one.name for one in client.list_collections() if one.name.startswith(name)} == {name}
    bench.assert_equal()


def test_a_shop_without_photos_needs_no_collection(make_bench: MakeBench) -> None:
    bench = make_bench()
    assert rebuild_collection(bench.parts, bench.version, bench.photos.shop_id).photos == 0
    assert not bench.store.exists(*bench.place)
    bench.assert_equal()


def test_a_collection_of_a_shop_without_photos_is_emptied(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.put([VectorRecord(10**8, unit(1), "0" * 64)])
    assert rebuild_collection(bench.parts, bench.version, bench.photos.shop_id).left == 0
    bench.assert_equal()
