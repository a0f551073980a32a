"""Work on photos while a second version of the index is being built: real PostgreSQL and Chroma."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, text

from configs.serving import IndexerArgs, TagArgs
from db import embeddings, index_versions, score_floors, text_weights, work
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError, DependencyUnavailable
from models.image import Embedding, ImageStatus, IndexState, IndexVersion
from serve_app.beside import Beside, DescribedBeside
from serve_app.describe_photos import update_metadata
from serve_app.index_parts import IndexingParts
from serve_app.indexing import delete_claim, embed_claim
from serve_app.item_vectors import item_vector
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders, Pixels, Vector
from tests.drawings import garment
from tests.fakes import FakeBulkTextEmbedder, vector_of
from tests.services import Photos, create_shop

OUT = DependencyUnavailable("It does not answer.")


@dataclass
class Tower:
    """Sees the model's name in every photo."""

    model_key: str
    error: AppError | None = None

    def embed(self, pixels: Pixels) -> Vector:
        if self.error is not None:
            raise self.error
        return np.tile(vector_of(self.model_key), (len(pixels), 1))


@dataclass
class Version:
    """One version with its model. Its number is of no other module: the Chroma is everybody's."""

    version_id: int
    photos: Photos
    store: VectorStore
    media: MediaStore
    image: Tower = field(init=False)
    texts: FakeBulkTextEmbedder = field(default_factory=FakeBulkTextEmbedder)

    def __post_init__(self) -> None:
        self.model_key = f"model{self.version_id}@1"
        self.image = Tower(self.model_key)

    @property
    def parts(self) -> IndexingParts:
        return IndexingParts(
            self.photos.database,
            self.store,
            self.version_id,
            self.model_key,
            IndexerArgs(retry_delay_s=30),
            Judge(self.photos.database, self.model_key, 20.0, TagArgs(), 0.98),
            media=self.media,
            geometry=ImageGeometry(shortest_edge_px=8, crop_px=8),
            max_pixels=10**6,
        )

    @property
    def embedders(self) -> BulkEmbedders:
        return BulkEmbedders(self.image, self.texts)

    def break_down(self, error: AppError | None) -> None:
        self.image.error = self.texts.error = error

    def row(self, image_id: int) -> Embedding | None:
        with self.photos.database.transaction() as session:
            return session.get(Embedding, (image_id, self.model_key))

    def missing(self) -> int:
        with self.photos.database.transaction() as session:
            return index_versions.missing(session, self.model_key)

    def floor_revision(self) -> int:
        with self.photos.database.transaction() as session:
            found = score_floors.find(session, self.photos.shop_id, self.model_key)
            return found.revision if found is not None else 0

    def assert_has(self, image_id: int, vector: Vector, category: int | None = None) -> None:
        """Its collection and its table have the photo by that vector, and no other photo."""
        shop_id = self.photos.shop_id
        metadata = self.store.metadata(self.version_id, shop_id)
        assert {one: kept.get("category") for one, kept in metadata.items()} == {image_id: category}
        ((hit,),) = self.store.query(self.version_id, shop_id, vector[None], 1)
        assert hit.score == pytest.approx(1.0, abs=1e-5)
        row = self.row(image_id)
        assert row is not None
        np.testing.assert_allclose(np.frombuffer(row.item_vector or row.vector, "<f4"), vector, atol=1e-6)
        assert self.missing() == 0


@dataclass
class Bench:
    photos: Photos
    live: Version
    built: Version

    def add(self) -> int:
        """A photo that waits, with its file."""
        (image_id,) = self.photos.add(1, name="hat")
        key = f"shops/{self.photos.shop_id}/{image_id}.png"
        self.live.media.save(key, garment())
        self.photos.change(lambda image: setattr(image, "photo_key", key), image_id)
        return image_id

    def embed(self, *, beside: bool = True) -> int:
        with self.photos.database.transaction() as session:
            claim = work.claim_embedding(session, limit=10, lease_s=60, max_attempts=5)
        second = Beside(self.built.parts, self.built.embedders) if beside else None
        return embed_claim(self.live.parts, self.live.embedders, claim, second)

    def describe(self, *, beside: bool = True) -> int:
        with self.photos.database.transaction() as session:
            claim = work.claim_metadata(session, limit=10, lease_s=60)
        second = DescribedBeside(self.built.parts, self.built.texts) if beside else None
        return update_metadata(self.live.parts, self.live.texts, claim, second)

    def weigh(self, weight: float) -> None:
        with self.photos.database.transaction() as session:
            text_weights.change(session, self.photos.shop_id, weight)

    def flip(self) -> None:
        with self.photos.database.transaction() as session:
            index_versions.flip(session, self.built.version_id)
        self.live, self.built = self.built, self.live

    def let_waits_end(self) -> None:
        with self.photos.database.transaction() as session:
            session.execute(text("UPDATE image SET lease_until = NULL"))


@pytest.fixture
def bench(own_database: Database, vectors: VectorStore, tmp_path: Path) -> Bench:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
        session.execute(delete(IndexVersion))
    photos, media = Photos(own_database, create_shop(own_database)), MediaStore(tmp_path.as_uri())
    # Shops begin with 1 in each database: so every test has collections of its own by its versions.
    live, built = (Version(71_000 + 2 * photos.shop_id + one, photos, vectors, media) for one in (0, 1))
    with own_database.transaction() as session:
        for version, state in ((live, IndexState.LIVE), (built, IndexState.BUILDING)):
            row = {"id": version.version_id, "model_key": version.model_key, "dimension": 16}
            session.add(IndexVersion(**row, state=state))
    return Bench(photos, live, built)


def test_a_new_photo_goes_to_both_versions_and_is_deleted_from_all(bench: Bench) -> None:
    image_id = bench.add()
    assert bench.embed() == 1
    both = (bench.live, bench.built)
    for version in both:
        version.assert_has(image_id, vector_of(version.model_key))
    assert [version.floor_revision() for version in both] == [1, 1]
    bench.flip()
    bench.photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), image_id)
    with bench.photos.database.transaction() as session:
        claim = work.claim_deleting(session, limit=10, lease_s=60)
    assert delete_claim(bench.live.parts, claim) == 1
    assert [one.store.ids(one.version_id, bench.photos.shop_id) for one in both] == [set(), set()]


def test_a_building_version_that_does_not_answer_holds_nobody_up(bench: Bench) -> None:
    image_id = bench.add()
    bench.built.break_down(OUT)
    assert bench.embed() == 1
    bench.live.assert_has(image_id, vector_of(bench.live.model_key))
    assert (bench.built.row(image_id), bench.built.missing()) == (None, 1)
    assert (bench.live.floor_revision(), bench.built.floor_revision()) == (1, 0)


@pytest.mark.parametrize("known_to_the_worker", [True, False])
def test_what_the_building_version_has_is_missing_once_it_is_out_of_date(
    bench: Bench, known_to_the_worker: bool
) -> None:
    """A photo is embedded again, with another term, past the version that is being built."""
    image_id = bench.add()
    bench.embed()
    bench.built.break_down(OUT)
    with bench.photos.database.transaction() as session:
        embeddings.leave_out(session, [image_id], {bench.built.model_key})
    assert bench.built.missing() == 0
    bench.photos.change(lambda image: setattr(image, "category_id", 2), image_id)
    bench.photos.change(lambda image: setattr(image, "status", ImageStatus.PENDING), image_id)
    with bench.photos.database.transaction() as session:
        session.execute(delete(Embedding).where(Embedding.model_key == bench.live.model_key))
    assert bench.embed(beside=known_to_the_worker) == 1
    bench.live.assert_has(image_id, vector_of(bench.live.model_key), category=2)
    if known_to_the_worker:  # its vector was known, and its collection answers
        bench.built.assert_has(image_id, vector_of(bench.built.model_key), category=2)
    else:
        assert bench.built.missing() == 1


def test_a_photo_embedded_across_a_flip_is_embedded_for_the_new_version(bench: Bench) -> None:
    image_id, former = bench.add(), bench.live
    with bench.photos.database.transaction() as session:
        claim = work.claim_embedding(session, limit=10, lease_s=60, max_attempts=5)
    bench.flip()
    assert embed_claim(former.parts, former.embedders, claim) == 0
    row = bench.photos.read(image_id)
    assert (row.status, row.attempts, row.lease_token) == (ImageStatus.PENDING, 0, None)
    bench.let_waits_end()
    assert bench.embed(beside=False) == 1
    bench.live.assert_has(image_id, vector_of(bench.live.model_key))


def test_terms_texts_and_weights_go_to_both_versions(bench: Bench) -> None:
    image_id = bench.add()
    bench.embed()
    bench.photos.change(lambda image: setattr(image, "category_id", 2), image_id)
    assert bench.describe() == 1
    bench.weigh(0.5)
    assert bench.describe() == 1
    bench.photos.change(lambda image: setattr(image, "name", "cap"), image_id)
    assert bench.describe() == 1
    for version in (bench.live, bench.built):
        mixed = item_vector(vector_of(version.model_key), vector_of("cap"), 0.5)
        version.assert_has(image_id, mixed, category=2)
        assert version.floor_revision() == 3
    bench.weigh(0.0)
    assert bench.describe() == 1
    for version in (bench.live, bench.built):
        version.assert_has(image_id, vector_of(version.model_key), category=2)


def test_without_its_text_tower_the_building_version_gets_terms_and_lacks_the_rest(bench: Bench) -> None:
    image_id = bench.add()
    bench.weigh(0.5)
    bench.embed()
    bench.built.break_down(OUT)
    bench.photos.change(lambda image: setattr(image, "category_id", 2), image_id)
    bench.photos.change(lambda image: setattr(image, "name", "cap"), image_id)
    assert bench.describe() == 1
    bench.live.assert_has(image_id, item_vector(vector_of(bench.live.model_key), vector_of("cap"), 0.5), 2)
    kept = bench.built.store.metadata(bench.built.version_id, bench.photos.shop_id)
    assert (kept[image_id]["category"], bench.built.missing()) == (2, 1)


def test_what_was_described_for_a_version_that_retired_is_described_again(bench: Bench) -> None:
    image_id, former = bench.add(), bench.live
    bench.embed()
    bench.photos.change(lambda image: setattr(image, "category_id", 2), image_id)
    with bench.photos.database.transaction() as session:
        claim = work.claim_metadata(session, limit=10, lease_s=60)
    bench.flip()
    assert update_metadata(former.parts, former.texts, claim) == 0
    bench.let_waits_end()
    assert bench.describe(beside=False) == 1
    bench.live.assert_has(image_id, vector_of(bench.live.model_key), category=2)


def test_a_new_text_makes_a_retired_version_compute_its_items_again(bench: Bench) -> None:
    image_id = bench.add()
    bench.weigh(0.5)
    bench.embed()
    bench.flip()
    retired = bench.built
    assert retired.missing() == 0
    bench.photos.change(lambda image: setattr(image, "name", "cap"), image_id)
    assert bench.describe(beside=False) == 1
    assert retired.missing() == 1
