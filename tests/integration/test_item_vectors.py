"""Background work of shops that give text a weight, and what others are spared; a real database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np
import pytest
from sqlalchemy import text

from configs.serving import IndexerArgs, TagArgs
from db import embeddings, item_vectors, score_floors, text_weights, work
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.errors import AppError, DependencyUnavailable
from models.image import Embedding, Image, ImageStatus
from models.search import Hit, PhotoTerms
from models.shop import Shop
from serve_app import item_vectors as use_case
from serve_app.describe_photos import update_metadata
from serve_app.index_parts import IndexingParts
from serve_app.indexing import embed_claim
from serve_app.item_vectors import item_vector
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders, BulkImageEmbedder, Pixels, Vector
from tests.fakes import FakeBulkTextEmbedder, vector_of
from tests.services import Photos, create_shop, make_live

MODEL = "some/model@1"
VERSION = 7


class NoPhotos:
    """A vision tower that nobody may ask."""

    def embed(self, pixels: Pixels) -> Vector:
        raise AssertionError(f"{len(pixels)} photos are embedded again")


@dataclass
class Index:
    """Holds what it is told; ``written`` are the ids of the vectors of the last calls."""

    vectors: dict[int, Vector] = field(default_factory=dict)
    written: list[int] = field(default_factory=list)
    error: AppError | None = None

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        assert (version_id, shop_id > 0) == (VERSION, True)
        self.vectors |= {one.image_id: one.vector for one in records}
        self.written += [one.image_id for one in records]
        if self.error is not None:
            raise self.error

    update = upsert

    def query(self, version_id: int, shop_id: int, vectors: Vector, k: int) -> list[list[Hit]]:
        assert (version_id, shop_id > 0, k > 1) == (VERSION, True, True)
        return [[] for _ in vectors]

    def update_metadata(self, version_id: int, shop_id: int, terms: Mapping[int, PhotoTerms]) -> None:
        assert (version_id, shop_id > 0, self.vectors.keys() >= terms.keys()) == (VERSION, True, True)


@dataclass
class Bench:
    """One shop's photos with all that works on them."""

    photos: Photos
    texts: FakeBulkTextEmbedder = field(default_factory=FakeBulkTextEmbedder)
    index: Index = field(default_factory=Index)

    def add(self, *names: str) -> list[int]:
        """Photos whose vectors are known, so that no file has to be read."""
        ids = [self.photos.add(1, name=name, photo_sha256=sha256_of(name))[0] for name in names]
        rows = [(one, sha256_of(name), pixels(name)) for one, name in zip(ids, names, strict=True)]
        with self.photos.database.transaction() as session:
            embeddings.save(session, MODEL, rows)
        return ids

    def weigh(self, weight: float) -> None:
        with self.photos.database.transaction() as session:
            text_weights.change(session, self.photos.shop_id, weight)

    def work(self) -> None:
        """Do all that there is to do now."""
        both = BulkEmbedders(cast(BulkImageEmbedder, NoPhotos()), self.texts)
        while True:
            with self.photos.database.transaction() as session:
                new = work.claim_embedding(session, limit=10, lease_s=60, max_attempts=5)
                known = work.claim_metadata(session, limit=10, lease_s=60)
            if not new.photos and not known.photos:
                return
            embed_claim(self._parts, both, new)
            update_metadata(self._parts, self.texts, known)

    def expire(self) -> None:
        with self.photos.database.transaction() as session:
            session.execute(text("UPDATE image SET lease_until = NULL"))

    def stored(self, image_id: int) -> Embedding:
        with self.photos.database.transaction() as session:
            return session.get_one(Embedding, (image_id, MODEL))

    def assert_index_follows(self, expected: Mapping[int, Vector]) -> None:
        """Chroma and PostgreSQL have these vectors, of which one revision has one."""
        assert self.index.vectors.keys() == expected.keys()
        for image_id, vector in expected.items():
            row = self.stored(image_id)
            indexed = np.frombuffer(row.item_vector or row.vector, "<f4")
            np.testing.assert_array_equal(indexed, self.index.vectors[image_id])
            np.testing.assert_allclose(indexed, vector, atol=1e-6)
        with self.photos.database.transaction() as session:
            assert not session.get_one(Shop, self.photos.shop_id).reindexing

    def revisions(self, image_ids: Sequence[int]) -> list[int]:
        return [self.photos.read(one).vector_revision for one in image_ids]

    @property
    def _parts(self) -> IndexingParts:
        return IndexingParts(
            self.photos.database,
            cast(VectorStore, self.index),
            VERSION,
            MODEL,
            IndexerArgs(retry_delay_s=30),
            media=cast(MediaStore, None),
            geometry=cast(ImageGeometry, None),
            max_pixels=1,
            judge=Judge(self.photos.database, MODEL, 20.0, TagArgs(), 0.98),
        )


def sha256_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def pixels(name: str) -> Vector:
    return vector_of(f"the pixels of {name}")


def mixed(name: str, weight: float, called: str | None = None) -> Vector:
    return item_vector(pixels(name), vector_of(called or name), weight)


@pytest.fixture
def bench(own_database: Database) -> Bench:
    make_live(own_database, VERSION, MODEL)
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return Bench(Photos(own_database, create_shop(own_database)))


def rename(image_id: int, name: str, bench: Bench) -> None:
    bench.photos.change(lambda image: setattr(image, "name", name), image_id)


def test_a_shop_without_a_weight_pays_nothing(bench: Bench) -> None:
    hat, bag = bench.add("hat", "bag")
    bench.work()
    bench.index.written.clear()
    rename(hat, "cap", bench)
    bench.work()
    assert (bench.texts.asked, bench.index.written) == ([], [])
    bench.assert_index_follows({hat: pixels("hat"), bag: pixels("bag")})
    assert bench.revisions([hat, bag]) == [1, 1]
    assert bench.stored(hat).text_sha256 is None
    assert bench.photos.read(hat).indexed_revision == 1


def test_another_weight_needs_each_text_once_and_no_photo(bench: Bench) -> None:
    ids = hat, bag, cap = bench.add("hat", "bag", "cap")
    rename(cap, "hat", bench)
    bench.work()
    before = {one: bench.stored(one).created_at for one in ids}
    bench.weigh(0.25)
    bench.work()
    assert sorted(bench.texts.asked) == ["bag", "hat"], "equal texts are embedded once"
    bench.assert_index_follows(
        {hat: mixed("hat", 0.25), bag: mixed("bag", 0.25), cap: mixed("cap", 0.25, "hat")}
    )
    bench.texts.error = AssertionError("no model is asked any more")  # type: ignore[assignment]
    bench.weigh(1.0)
    bench.work()
    bench.assert_index_follows({hat: vector_of("hat"), bag: vector_of("bag"), cap: vector_of("hat")})
    bench.weigh(0.0)
    bench.work()
    bench.assert_index_follows(
        {one: pixels(name) for one, name in zip(ids, ("hat", "bag", "cap"), strict=True)}
    )
    assert bench.revisions(ids) == [4, 4, 4]
    assert {one: bench.stored(one).created_at for one in ids} == before
    assert [bench.stored(one).item_vector for one in ids] == [None] * 3


def test_only_a_text_that_changed_is_embedded_again(bench: Bench) -> None:
    hat, bag = bench.add("hat", "bag")
    bench.weigh(0.5)
    bench.work()
    bench.texts.asked.clear()
    rename(hat, "cap", bench)
    bench.photos.change(lambda image: setattr(image, "category_id", 1), bag)
    bench.work()
    assert bench.texts.asked == ["cap"]
    bench.assert_index_follows({hat: mixed("hat", 0.5, "cap"), bag: mixed("bag", 0.5)})
    assert bench.revisions([hat, bag]) == [2, 1], "the same vector is the same revision"
    bench.weigh(0.25)
    bench.work()
    assert bench.texts.asked == ["cap"], "a new photo's text is kept too"


def test_a_replaced_photo_keeps_the_vector_of_its_text(bench: Bench) -> None:
    (hat,) = bench.add("hat")
    bench.weigh(0.5)
    bench.work()
    (other,) = bench.add("other")
    bench.work()
    bench.texts.asked.clear()

    def replace(image: Image) -> None:
        image.photo_sha256, image.status = sha256_of("other"), ImageStatus.PENDING

    bench.photos.change(replace, hat)
    bench.work()
    assert bench.texts.asked == []
    bench.assert_index_follows({hat: mixed("other", 0.5, "hat"), other: mixed("other", 0.5)})
    bench.photos.change(lambda image: setattr(image, "status", ImageStatus.PENDING), hat)
    bench.weigh(0.0)
    bench.work()
    bench.assert_index_follows({hat: pixels("other"), other: pixels("other")})


def test_without_the_text_tower_photos_that_need_it_wait_and_no_others(bench: Bench) -> None:
    neighbour = Bench(Photos(bench.photos.database, create_shop(bench.photos.database)), index=bench.index)
    (known,) = bench.add("hat")
    bench.work()
    bench.weigh(0.5)
    (new,), (other,) = bench.add("bag"), neighbour.add("shoe")
    bench.texts.error = DependencyUnavailable("The text embedder does not answer.")
    bench.work()
    assert [neighbour.photos.read(one).status for one in (known, other)] == [ImageStatus.EMBEDDED] * 2
    waiting = bench.photos.read(new)
    assert (waiting.status, waiting.attempts, waiting.lease_token) == (ImageStatus.PENDING, 0, None)
    assert waiting.lease_until is not None
    assert waiting.lease_until - datetime.now(UTC) > timedelta(seconds=20)
    assert bench.index.vectors.keys() == {known, other}
    np.testing.assert_array_equal(bench.index.vectors[known], pixels("hat"))
    bench.texts.error = None
    bench.expire()
    bench.work()
    expected = {known: mixed("hat", 0.5), new: mixed("bag", 0.5), other: pixels("shoe")}
    bench.assert_index_follows(expected)


def test_texts_are_kept_some_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was embedded before an outage is not embedded again after it."""
    monkeypatch.setattr(use_case, "TEXTS_PER_STEP", 2)
    ids = bench.add("hat", "bag", "cap")
    bench.work()

    class Ending(FakeBulkTextEmbedder):
        def embed(self, texts: Sequence[str]) -> Vector:
            if self.asked:
                raise DependencyUnavailable("The text embedder does not answer.")
            return super().embed(texts)

    bench.weigh(0.5)
    bench.texts = Ending()
    bench.work()
    assert bench.texts.asked == ["hat", "bag"]
    bench.texts = FakeBulkTextEmbedder()
    bench.expire()
    bench.work()
    assert bench.texts.asked == ["cap"]
    names = zip(ids, ("hat", "bag", "cap"), strict=True)
    bench.assert_index_follows({one: mixed(name, 0.5) for one, name in names})


def test_a_write_that_may_have_happened_is_taken_back(bench: Bench) -> None:
    """The index has the words' vector and says that it failed; meanwhile the shop goes back."""
    (hat,) = bench.add("hat")
    bench.work()
    bench.weigh(1.0)
    bench.index.error = DependencyUnavailable("The search index does not answer.")
    bench.work()
    np.testing.assert_array_equal(bench.index.vectors[hat], vector_of("hat"))
    assert (bench.stored(hat).item_vector, bench.revisions([hat])) == (None, [1])
    bench.index.error = None
    bench.weigh(0.0)
    bench.expire()
    bench.work()
    bench.assert_index_follows({hat: pixels("hat")})
    assert bench.revisions([hat]) == [1]


def test_a_new_vector_makes_the_shops_floor_be_computed_again(bench: Bench) -> None:
    bench.add("hat")
    bench.work()

    def revision() -> int:
        with bench.photos.database.transaction() as session:
            found = score_floors.find(session, bench.photos.shop_id, MODEL)
            return found.revision if found is not None else 0

    before = revision()
    bench.weigh(0.5)
    bench.work()
    assert revision() == before + 1


def test_vectors_of_photos_that_are_gone_are_not_kept(bench: Bench) -> None:
    with bench.photos.database.transaction() as session:
        item_vectors.save_items(session, MODEL, {2**30: vector_of("hat")})
        item_vectors.save_texts(session, MODEL, {})
        assert item_vectors.photos_and_items(session, MODEL, [2**30]) == {}
