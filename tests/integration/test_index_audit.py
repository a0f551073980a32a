"""Damaged collections, on a real PostgreSQL and a real Chroma: found exactly, and repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from configs.serving import AuditArgs, CollectionArgs
from db import embeddings, index_versions
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.image import Image, ImageStatus, IndexVersion
from models.index_audit import Finding
from models.search import PhotoTerms
from serve_app import compare_index
from serve_app.audit_index import audit_collection
from serve_app.compare_index import Report
from serve_app.ports import Vector
from serve_app.repair_index import AuditParts
from tests.services import Photos, create_shop

MODEL = "some/model@1"
DIMENSION = 16


def unit(*seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class Bench:
    """One shop whose photos are embedded, and its collection."""

    parts: AuditParts
    version: IndexVersion
    photos: Photos
    vectors: dict[int, Vector] = field(default_factory=dict)

    @property
    def store(self) -> VectorStore:
        return self.parts.vectors

    @property
    def place(self) -> tuple[int, int]:
        assert self.version.id is not None
        return self.version.id, self.photos.shop_id

    def add(self, count: int, *, indexed: bool = True) -> list[int]:
        fields = {"status": ImageStatus.EMBEDDED, "vector_revision": 1}
        ids = self.photos.add(count, **fields, category_id=None)
        new = {one: unit(one) for one in ids}
        with self.photos.database.transaction() as session:
            rows = [(one, session.get_one(Image, one).photo_sha256, vector) for one, vector in new.items()]
            embeddings.save(session, self.version.model_key, rows)
        if indexed:
            self.put([VectorRecord(one, vector, sha) for one, sha, vector in rows])
        self.vectors |= new
        return ids

    def put(self, records: list[VectorRecord]) -> None:
        self.store.upsert(*self.place, records)

    def audit(self, *, repair: bool = False) -> Report:
        return audit_collection(self.parts, self.version, self.photos.shop_id, repair=repair)

    def assert_equal(self) -> None:
        entries = self.store.read(*self.place, [*self.store.ids(*self.place)])
        assert entries.keys() == self.vectors.keys()
        for one, vector in self.vectors.items():
            row = self.photos.read(one)
            assert entries[one].photo_sha256 == row.photo_sha256
            assert entries[one].terms == PhotoTerms(row.category_id, row.style_id, row.age_group_id)
            np.testing.assert_allclose(entries[one].vector, vector, atol=1e-6)
            assert (row.status, row.lease_token) == (ImageStatus.EMBEDDED, None)
        assert self.audit().found == {}


@pytest.fixture
def make_bench(
    own_database: Database, chroma_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Bench]:
    monkeypatch.setattr(compare_index, "ROUND_PAUSE_S", 0.02)
    with own_database.transaction() as session:
        version = index_versions.ensure_live(session, MODEL, DIMENSION)
    # A number of its own: other tests use the same server.
    version.id = 900_000

    def make(args: AuditArgs | None = None, **parts: object) -> Bench:
        with own_database.transaction() as session:
            session.execute(text("DELETE FROM shop"))
            session.execute(text("UPDATE index_version SET id = 900000"))
        store = VectorStore(chroma_url, CollectionArgs())
        args = args or AuditArgs(page_photos=7, sample=20)
        photos = Photos(own_database, create_shop(own_database))
        return Bench(AuditParts(own_database, store, args, **parts), version, photos)  # type: ignore[arg-type]

    return make


DAMAGES = st.lists(
    st.sampled_from(["missing", "stale", "terms", "different", "none"]), min_size=20, max_size=20
)


@settings(max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(damages=DAMAGES, strays=st.integers(0, 3))
def test_random_damage_is_found_exactly_and_repaired(
    make_bench: Callable[..., Bench], damages: list[str], strays: int
) -> None:
    bench = make_bench()
    ids = bench.add(20)
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
    assert {kind: set(own) <= expected[kind] for kind, own in found.examples.items()} == dict.fromkeys(
        expected, True
    )
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
