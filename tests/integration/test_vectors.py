from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from chromadb.errors import InternalError
from numpy.typing import NDArray

from configs.serving import CollectionArgs
from db.vector_queries import VectorQueries
from db.vectors import MAX_ROWS_PER_CALL, VectorRecord, VectorStore
from models.errors import DependencyTimeout, DependencyUnavailable
from models.search import PhotoTerms
from serve_app.local_services import LocalChroma

VERSION = 1


def unit_vectors(count: int, dimension: int = 64, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def records(vectors: NDArray[np.float32], first_id: int = 1) -> list[VectorRecord]:
    return [VectorRecord(first_id + place, vector, f"{place:064d}") for place, vector in enumerate(vectors)]


def recall(store: VectorStore, shop_id: int, known: NDArray[np.float32], k: int) -> float:
    """Mean share of the exact top k that is found, over 20 queries; checks order and scores as well."""
    queries = unit_vectors(20, seed=1)
    exact = np.argsort(-queries @ known.T, axis=1)[:, :k] + 1
    shares = []
    for query, hits, nearest in zip(queries, store.query(VERSION, shop_id, queries, k), exact, strict=True):
        assert len(hits) == min(k, len(known))
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose(scores, [known[hit.image_id - 1] @ query for hit in hits], atol=1e-4)
        shares.append(len({hit.image_id for hit in hits} & set(nearest.tolist())) / len(hits))
    return float(np.mean(shares))


def test_answers_equal_the_exact_nearest(vectors: VectorStore, shop_id: int) -> None:
    known = unit_vectors(500)
    vectors.upsert(VERSION, shop_id, records(known))
    assert recall(vectors, shop_id, known, 10) >= 0.99
    assert recall(vectors, shop_id, known, 100) >= 0.99
    assert recall(vectors, shop_id, known, 1000) >= 0.99


def test_k_may_exceed_ef_search(vectors: VectorStore, shop_id: int) -> None:
    known = unit_vectors(MAX_ROWS_PER_CALL + 500)
    vectors.upsert(VERSION, shop_id, records(known))
    assert vectors.ids(VERSION, shop_id) == set(range(1, len(known) + 1))
    assert recall(vectors, shop_id, known, 1000) >= 0.9
    assert recall(vectors, shop_id, known, 10) >= 0.99


def test_a_shop_without_photos_gets_nothing(vectors: VectorStore, shop_id: int) -> None:
    queries = unit_vectors(2)
    assert vectors.query(VERSION, shop_id, queries, 5) == [[], []]
    assert vectors.ids(VERSION, shop_id) == set()
    vectors.delete(VERSION, shop_id, [1, 2])
    vectors.drop(VERSION, shop_id)
    vectors.upsert(VERSION, shop_id, records(unit_vectors(1)))
    vectors.delete(VERSION, shop_id, [1, 77])
    assert vectors.query(VERSION, shop_id, queries, 5) == [[], []]


def test_shops_and_versions_are_apart(vectors: VectorStore, shop_id: int) -> None:
    other = shop_id + 1_000_000
    vectors.upsert(VERSION, shop_id, records(unit_vectors(3)))
    vectors.upsert(VERSION, other, records(unit_vectors(3), first_id=100))
    vectors.upsert(VERSION + 1, shop_id, records(unit_vectors(3, dimension=32), first_id=200))
    assert vectors.ids(VERSION, shop_id) == {1, 2, 3}
    (hits,) = vectors.query(VERSION, shop_id, unit_vectors(1), 10)
    assert {hit.image_id for hit in hits} == {1, 2, 3}
    vectors.drop(VERSION, shop_id)
    assert vectors.ids(VERSION, shop_id) == set()
    assert vectors.ids(VERSION, other) == {100, 101, 102}
    assert vectors.ids(VERSION + 1, shop_id) == {200, 201, 202}


def test_the_same_id_is_replaced_and_a_deleted_one_is_gone(vectors: VectorStore, shop_id: int) -> None:
    first, second, third = unit_vectors(3)
    vectors.upsert(VERSION, shop_id, [VectorRecord(1, first, "a" * 64), VectorRecord(2, second, "b" * 64)])
    vectors.upsert(VERSION, shop_id, [VectorRecord(1, third, "c" * 64)])
    (hits,) = vectors.query(VERSION, shop_id, third[np.newaxis], 10)
    assert [hit.image_id for hit in hits] == [1, 2]
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    vectors.delete(VERSION, shop_id, [1])
    (hits,) = vectors.query(VERSION, shop_id, third[np.newaxis], 10)
    assert [hit.image_id for hit in hits] == [2]


def test_terms_stand_beside_the_vector_and_go_when_unset(vectors: VectorStore, shop_id: int) -> None:
    first, second = unit_vectors(2)
    full, sha = {"sha256": "a" * 64, "category": 1, "style": 2, "age_group": 3}, "a" * 64
    vectors.update_metadata(VERSION, shop_id, {1: PhotoTerms(1, 2, 3)})
    assert vectors.metadata(VERSION, shop_id) == {}, "there is no collection yet"
    vectors.upsert(VERSION, shop_id, [VectorRecord(1, first, sha, PhotoTerms(1, 2, 3))])
    vectors.upsert(VERSION, shop_id, [VectorRecord(2, second, sha)])
    assert vectors.metadata(VERSION, shop_id) == {1: full, 2: {"sha256": sha}}
    before = vectors.query(VERSION, shop_id, unit_vectors(3, seed=2), 5)
    changes = {1: PhotoTerms(None, 5, None), 2: PhotoTerms(7, None, None), 99: PhotoTerms(1, 1, 1)}
    vectors.update_metadata(VERSION, shop_id, changes)
    kept = {1: {"sha256": sha, "style": 5}, 2: {"sha256": sha, "category": 7}}
    assert vectors.metadata(VERSION, shop_id) == kept, "an id without a vector is ignored"
    assert vectors.query(VERSION, shop_id, unit_vectors(3, seed=2), 5) == before
    vectors.upsert(VERSION, shop_id, [VectorRecord(1, first, "b" * 64, PhotoTerms(4, None, None))])
    vectors.update_metadata(VERSION, shop_id, {2: PhotoTerms()})
    kept = {1: {"sha256": "b" * 64, "category": 4}, 2: {"sha256": sha}}
    assert vectors.metadata(VERSION, shop_id) == kept


def test_equal_scores_are_ordered_by_id(vectors: VectorStore, shop_id: int) -> None:
    (vector,) = unit_vectors(1)
    vectors.upsert(VERSION, shop_id, [VectorRecord(image_id, vector, "a" * 64) for image_id in (10, 9, 2)])
    (hits,) = vectors.query(VERSION, shop_id, vector[np.newaxis], 3)
    assert [hit.image_id for hit in hits] == [2, 9, 10]


def test_a_collection_that_another_process_made_anew(
    vectors: VectorStore, chroma_url: str, shop_id: int
) -> None:
    vectors.upsert(VERSION, shop_id, records(unit_vectors(2)))
    other = VectorStore(chroma_url, CollectionArgs())
    other.drop(VERSION, shop_id)
    assert vectors.query(VERSION, shop_id, unit_vectors(1), 5) == [[]]
    other.upsert(VERSION, shop_id, records(unit_vectors(1), first_id=5))
    assert vectors.ids(VERSION, shop_id) == {5}
    other.drop(VERSION, shop_id)
    vectors.upsert(VERSION, shop_id, records(unit_vectors(1), first_id=6))
    assert other.ids(VERSION, shop_id) == {6}


@pytest.fixture
def own_chroma(tmp_path: Path) -> Iterator[LocalChroma]:
    server = LocalChroma(tmp_path)
    yield server
    server.stop()


def test_an_answer_survives_a_crash_and_an_outage_has_its_own_error(own_chroma: LocalChroma) -> None:
    store = VectorStore(own_chroma.start(), CollectionArgs())
    store.upsert(VERSION, 1, records(unit_vectors(50)))
    before = store.query(VERSION, 1, unit_vectors(3, seed=2), 10)
    own_chroma._process.kill()  # type: ignore[union-attr]
    own_chroma._process.wait()  # type: ignore[union-attr]
    for act in (
        store.ping,
        lambda: store.ids(VERSION, 1),
        lambda: store.query(VERSION, 1, unit_vectors(1), 5),
    ):
        with pytest.raises(DependencyUnavailable):
            act()
    own_chroma.ensure_running()
    store.ping()
    assert store.query(VERSION, 1, unit_vectors(3, seed=2), 10) == before


def test_a_query_that_chroma_refuses_has_its_own_error(vectors: VectorStore, shop_id: int) -> None:
    vectors.upsert(VERSION, shop_id, records(unit_vectors(3)))
    shorter = unit_vectors(1)[:, :-1]
    with pytest.raises(DependencyUnavailable) as caught:
        vectors.query(VERSION, shop_id, shorter, 2)
    assert "dimension" in str(caught.value.__cause__)
    (hits,) = vectors.query(VERSION, shop_id, unit_vectors(1), 2)
    assert len(hits) == 2


def test_what_is_no_chroma_is_no_answer_either(vectors: VectorStore, shop_id: int) -> None:
    vectors.upsert(VERSION, shop_id, records(unit_vectors(1)))
    collection = vectors._collection(f"v{VERSION}-shop{shop_id}", create=False)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:
        answered = thread.submit(_answer_once, server, b"HTTP/1.1 502 Bad\r\nContent-Length: 4\r\n\r\ngone")
        queries = VectorQueries(_url(server), connect_timeout_s=5, answer_timeout_s=5)
        with pytest.raises(InternalError, match="gone"):
            queries.nearest(collection, unit_vectors(1), 5)
        answered.result()


def _answer_once(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(2**16)
        connection.sendall(answer)


def _url(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_chroma_that_does_not_answer_in_time(
    monkeypatch: pytest.MonkeyPatch, vectors: VectorStore, shop_id: int
) -> None:
    vectors.upsert(VERSION, shop_id, records(unit_vectors(1)))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        queries = VectorQueries(_url(silent), connect_timeout_s=1, answer_timeout_s=0.1)
        monkeypatch.setattr(vectors, "_queries", queries)
        with pytest.raises(DependencyTimeout):
            vectors.query(VERSION, shop_id, unit_vectors(1), 5)
