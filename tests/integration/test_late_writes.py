"""Workers that write to the index, step by step, with a real database; the index may be out of order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from sqlalchemy import text

from configs.serving import IndexerArgs, TagArgs
from db import embeddings, work
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from db.work import Claim
from models.errors import DependencyTimeout
from models.image import ImageStatus
from models.search import Hit, PhotoTerms
from serve_app.describe_photos import update_metadata
from serve_app.index_parts import IndexingParts, IndexParts
from serve_app.indexing import embed_claim
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders, BulkImageEmbedder, BulkTextEmbedder, Vector
from tests.fakes import FakeBulkTextEmbedder, vector_of
from tests.services import Photos, make_live

VERSION = 7
MODEL_KEY = "some/model@1"
NO_TEXTS = cast(BulkTextEmbedder, None)  # no shop here gives text a weight


@dataclass
class SlowIndex:
    """Does what it is told, and then may say that it took too long."""

    fails: bool = False
    terms: dict[int, PhotoTerms] = field(default_factory=dict)

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        self.update_metadata(version_id, shop_id, {one.image_id: one.terms for one in records})

    def update(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        assert not records, f"shop {shop_id} gives text no weight in version {version_id}"

    def query(self, version_id: int, shop_id: int, vectors: Vector, k: int) -> list[list[Hit]]:
        assert (version_id, shop_id > 0, k > 1) == (VERSION, True, True)
        return [[] for _ in vectors]

    def update_metadata(self, version_id: int, shop_id: int, terms: Mapping[int, PhotoTerms]) -> None:
        assert (version_id, shop_id > 0) == (VERSION, True)
        self.terms.update(terms)
        if self.fails:
            raise DependencyTimeout("The search index took too long to answer.")


@pytest.fixture
def database(own_database: Database) -> Database:
    make_live(own_database, VERSION, MODEL_KEY)
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


def use_category(photos: Photos, image_id: int, category_id: int) -> None:
    photos.change(lambda image: setattr(image, "category_id", category_id), image_id)


def claimed(database: Database) -> Claim:
    with database.transaction() as session:
        return work.claim_metadata(session, limit=10, lease_s=60)


def expire(photos: Photos, image_id: int) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    photos.change(lambda image: setattr(image, "lease_until", past), image_id)


def judge_of(database: Database) -> Judge:
    return Judge(database, MODEL_KEY, 20.0, TagArgs(), 0.98)


def parts_of(database: Database, index: SlowIndex) -> IndexParts:
    args = IndexerArgs(retry_delay_s=30)
    return IndexParts(database, cast(VectorStore, index), VERSION, MODEL_KEY, args, judge_of(database))


def embedding_parts(database: Database, index: SlowIndex) -> IndexingParts:
    """For photos whose vectors are known: no file is read."""
    return IndexingParts(
        database=database,
        vectors=cast(VectorStore, index),
        version_id=VERSION,
        args=IndexerArgs(retry_delay_s=30),
        media=cast(MediaStore, None),
        model_key=MODEL_KEY,
        geometry=cast(ImageGeometry, None),
        max_pixels=1,
        judge=judge_of(database),
    )


def test_terms_wait_for_an_index_that_does_not_answer(database: Database, photos: Photos) -> None:
    (image_id,) = photos.add(1, status=ImageStatus.EMBEDDED)
    use_category(photos, image_id, 2)
    index = SlowIndex(fails=True)
    parts = parts_of(database, index)
    assert update_metadata(parts, NO_TEXTS, claimed(database)) == 0
    row = photos.read(image_id)
    assert (row.status, row.error, row.lease_token) == (ImageStatus.EMBEDDED, None, None)
    assert row.lease_until is not None
    assert 25 < (row.lease_until - datetime.now(UTC)).total_seconds() <= 30
    assert claimed(database).photos == []
    expire(photos, image_id)
    index.fails = False
    assert update_metadata(parts, NO_TEXTS, claimed(database)) == 1
    assert index.terms == {image_id: PhotoTerms(2)}
    assert claimed(database).photos == []


def test_terms_do_not_wait_for_the_text_tower_that_others_need(database: Database, photos: Photos) -> None:
    known, tagged = photos.add(2, status=ImageStatus.EMBEDDED)
    for image_id in (known, tagged):
        use_category(photos, image_id, 2)
    photos.change(lambda image: setattr(image, "auto_tag", True), tagged)
    index, out = SlowIndex(), FakeBulkTextEmbedder(error=DependencyTimeout("It did not answer in time."))
    assert update_metadata(parts_of(database, index), out, claimed(database)) == 1
    assert index.terms == {known: PhotoTerms(2)}
    assert claimed(database).photos == [], "the other one waits a moment"
    expire(photos, tagged)
    assert update_metadata(parts_of(database, index), FakeBulkTextEmbedder(), claimed(database)) == 1
    assert index.terms.keys() == {known, tagged}


def test_a_worker_without_its_lease_writes_nothing(database: Database, photos: Photos) -> None:
    (image_id,) = photos.add(1, status=ImageStatus.EMBEDDED)
    use_category(photos, image_id, 2)
    late = claimed(database)
    expire(photos, image_id)
    winner = claimed(database)
    index = SlowIndex()
    assert update_metadata(parts_of(database, index), NO_TEXTS, late) == 0
    assert index.terms == {}
    assert update_metadata(parts_of(database, index), NO_TEXTS, winner) == 1
    assert photos.read(image_id).metadata_revision == 1, "a claim that wrote nothing did no harm"


def test_a_lease_that_is_lost_while_the_index_hangs_leaves_the_photo_behind(
    database: Database, photos: Photos
) -> None:
    (image_id,) = photos.add(1, status=ImageStatus.EMBEDDED)
    use_category(photos, image_id, 2)
    late = claimed(database)

    @dataclass
    class Overtaken(SlowIndex):
        def update_metadata(self, version_id: int, shop_id: int, terms: Mapping[int, PhotoTerms]) -> None:
            """Another worker does it all before this call arrives, and this call fails."""
            expire(photos, image_id)
            use_category(photos, image_id, 3)
            assert update_metadata(parts_of(database, winner), NO_TEXTS, claimed(database)) == 1
            super().update_metadata(version_id, shop_id, terms)

    winner = SlowIndex()
    assert update_metadata(parts_of(database, Overtaken(fails=True)), NO_TEXTS, late) == 0
    assert winner.terms == {image_id: PhotoTerms(3)}
    assert [photo.terms for photo in claimed(database).photos] == [PhotoTerms(3)]


def test_a_vector_that_a_hanging_call_writes_late_is_written_again(
    database: Database, photos: Photos
) -> None:
    (image_id,) = photos.add(1, photo_sha256="a" * 64)
    with database.transaction() as session:
        embeddings.save(session, MODEL_KEY, [(image_id, "a" * 64, vector_of("photo"))])

    def claimed_photo() -> Claim:
        with database.transaction() as session:
            return work.claim_embedding(session, limit=10, lease_s=60, max_attempts=5)

    class Overtaken(SlowIndex):
        def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
            expire(photos, image_id)
            use_category(photos, image_id, 3)
            assert embed_claim(embedding_parts(database, winner), embedders, claimed_photo()) == 1
            super().upsert(version_id, shop_id, records)

    winner, embedders = (
        SlowIndex(),
        BulkEmbedders(cast(BulkImageEmbedder, None), FakeBulkTextEmbedder()),
    )  # the vector is known
    late = claimed_photo()
    assert embed_claim(embedding_parts(database, Overtaken(fails=True)), embedders, late) == 0
    assert [photo.terms for photo in claimed_photo().photos] == [PhotoTerms(3)]
