"""A shop with embedded photos and its collection, on a real PostgreSQL and a real Chroma, to be damaged."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from configs.serving import AuditArgs, CollectionArgs, IndexerArgs, TagArgs
from db import embeddings, index_versions, work
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.image import Image, ImageStatus, IndexVersion
from models.search import PhotoTerms
from serve_app import compare_index
from serve_app.audit_index import audit_collection
from serve_app.compare_index import Report
from serve_app.describe_photos import update_metadata
from serve_app.index_parts import IndexingParts
from serve_app.indexing import delete_claim, embed_claim
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders, BulkImageEmbedder, Pixels, Vector
from serve_app.repair_index import AuditParts
from tests.fakes import FakeBulkTextEmbedder
from tests.services import Photos, create_shop

MODEL = "some/model@1"
DIMENSION = 16


def unit(*seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class NoModel(BulkImageEmbedder):
    """All vectors are known here."""

    def embed(self, pixels: Pixels) -> Vector:
        raise AssertionError(f"{len(pixels)} photos were to be embedded")


class Meanwhile(VectorStore):
    """Something happens at a moment: ``hooks``, by the name of the call, once each."""

    def __init__(self, url: str) -> None:
        super().__init__(url, CollectionArgs())
        self.hooks: dict[str, Callable[[], object]] = {}

    def read(self, version_id: int, shop_id: int, image_ids: Sequence[int]) -> dict[int, VectorRecord]:
        self._happens("before read")
        return super().read(version_id, shop_id, image_ids)

    def id_pages(self, version_id: int, shop_id: int, limit: int) -> Iterator[list[int]]:
        for page in super().id_pages(version_id, shop_id, limit):
            self._happens("after ids")
            yield page

    def swap_in(self, version_id: int, shop_id: int) -> None:
        self._happens("before swap")
        super().swap_in(version_id, shop_id)

    def _happens(self, moment: str) -> None:
        self.hooks.pop(moment, lambda: None)()


@dataclass
class Bench:
    """``vectors``: what the collection should hold."""

    parts: AuditParts
    version: IndexVersion
    photos: Photos
    media_url: str
    vectors: dict[int, Vector] = field(default_factory=dict)

    @property
    def store(self) -> VectorStore:
        return self.parts.vectors

    @property
    def place(self) -> tuple[int, int]:
        assert self.version.id is not None
        return self.version.id, self.photos.shop_id

    def add(self, count: int) -> list[int]:
        """Photos that are embedded and in the index."""
        ids = self.photos.add(count, status=ImageStatus.EMBEDDED, vector_revision=1)
        self.put(self._remember(ids))
        return ids

    def upload(self, count: int) -> list[int]:
        """Photos that wait for ``work``."""
        ids = self.photos.add(count)
        self._remember(ids)
        return ids

    def put(self, records: list[VectorRecord]) -> None:
        self.store.upsert(*self.place, records)

    def audit(self, *, repair: bool = False) -> Report:
        return audit_collection(self.parts, self.version, self.photos.shop_id, repair=repair)

    def remove(self, image_id: int) -> None:
        """As a shop deletes a photo, up to the end of the work on it."""
        self.photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), image_id)
        self.work()
        del self.vectors[image_id]

    def work(self) -> None:
        """What the service does with photos that wait, were deleted or changed."""
        database, args = self.parts.database, IndexerArgs()
        judge = Judge(database, MODEL, 20.0, TagArgs(), 0.98)
        geometry = ImageGeometry(shortest_edge_px=8, crop_px=8)
        parts = IndexingParts(
            database, self.store, self.place[0], MODEL, args, judge, MediaStore(self.media_url), geometry, 1
        )
        with database.transaction() as session:
            new = work.claim_embedding(session, limit=5, lease_s=60, max_attempts=5)
            deleted = work.claim_deleting(session, limit=5, lease_s=60)
            changed = work.claim_metadata(session, limit=5, lease_s=60)
        texts = FakeBulkTextEmbedder()
        embed_claim(parts, BulkEmbedders(NoModel(), texts), new)
        delete_claim(parts, deleted)
        update_metadata(parts, texts, changed)

    def work_until_done(self, patience_s: float = 30.0) -> None:
        """The same until nothing waits, also for another attempt."""
        waiting = select(Image.id).where(
            col(Image.shop_id) == self.photos.shop_id, col(Image.status) != ImageStatus.EMBEDDED
        )
        deadline = time.monotonic() + patience_s
        while True:
            self.work()
            with self.parts.database.transaction() as session:
                left = session.execute(waiting).all()
            if not left:
                return
            assert time.monotonic() < deadline, left
            time.sleep(0.1)

    def assert_equal(self) -> None:
        """Index and database hold the same, and nobody works on any photo."""
        entries = self.store.read(*self.place, [*self.store.ids(*self.place)])
        assert entries.keys() == self.vectors.keys()
        for one, vector in self.vectors.items():
            row = self.photos.read(one)
            assert entries[one].photo_sha256 == row.photo_sha256
            assert entries[one].terms == PhotoTerms(row.category_id, row.style_id, row.age_group_id)
            np.testing.assert_allclose(entries[one].vector, vector, atol=1e-6)
            assert (row.status, row.lease_token) == (ImageStatus.EMBEDDED, None)
        report = self.audit()
        assert (report.found, report.busy) == ({}, 0)

    def _remember(self, ids: list[int]) -> list[VectorRecord]:
        self.vectors |= {one: unit(one) for one in ids}
        with self.photos.database.transaction() as session:
            shas = {one: session.get_one(Image, one).photo_sha256 for one in ids}
            rows = [(one, shas[one], self.vectors[one]) for one in ids]
            embeddings.save(session, self.version.model_key, rows)
        return [VectorRecord(one, self.vectors[one], shas[one]) for one in ids]


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(
    own_database: Database, chroma_url: str, tmp_path_factory: pytest.TempPathFactory
) -> MakeBench:
    """A new shop, the only one; ``store`` replaces the connection to Chroma."""
    media_url = tmp_path_factory.mktemp("media").as_uri()

    def make(store: VectorStore | None = None, **args: int) -> Bench:
        # A number of its own: all tests' databases share one Chroma.
        own = {"id": random.randrange(10**6, 2**31)}
        with own_database.transaction() as session:
            session.execute(text("DELETE FROM shop"))
            session.execute(text("DELETE FROM index_version"))
            index_versions.ensure_live(session, MODEL, DIMENSION)
            session.execute(text("UPDATE index_version SET id = :id"), own)
        with own_database.transaction() as session:
            version = index_versions.live(session)
        assert version is not None
        audit = AuditArgs(**({"page_photos": 7, "sample": 20} | args))
        parts = AuditParts(own_database, store or VectorStore(chroma_url, CollectionArgs()), audit)
        return Bench(parts, version, Photos(own_database, create_shop(own_database)), media_url)

    return make


@pytest.fixture(autouse=True)
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_index, "ROUND_PAUSE_S", 0.02)
