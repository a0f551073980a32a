"""A version of the index is filled from files, with a real database; what is in the way does no harm."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from sqlalchemy import text

from configs.serving import IndexerArgs, TagArgs
from db import embeddings, index_versions, reindexing
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from models.errors import DependencyUnavailable
from models.image import Image, ImageStatus
from serve_app.fill_version import Filled, fill_photos
from serve_app.index_parts import IndexingParts
from serve_app.item_vectors import item_text, item_vector
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders, Pixels, Vector
from tests.fakes import FakeBulkTextEmbedder, vector_of
from tests.photographs import encoded, photograph
from tests.services import Photos, create_shop

VERSION, KEY = 9, "new@1"


@dataclass
class Index:
    """The collection of one shop."""

    fails: bool = False
    vectors: dict[int, Vector] = field(default_factory=dict)

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        assert (version_id, shop_id > 0) == (VERSION, True)
        if self.fails:
            raise DependencyUnavailable("The search index does not answer.")
        self.vectors.update({one.image_id: one.vector for one in records})


@dataclass
class Tower:
    """A photo's vector tells its brightness; ``calls``: how many photos each had."""

    calls: list[int] = field(default_factory=list)

    @property
    def seen(self) -> int:
        return sum(self.calls)

    def embed(self, pixels: Pixels) -> Vector:
        self.calls.append(len(pixels))
        return np.stack([vector_of(f"photo {int(one.mean())}") for one in pixels])


@dataclass
class Filling:
    """One shop's photos, and what fills a version with them."""

    photos: Photos
    media: MediaStore
    index: Index = field(default_factory=Index)
    tower: Tower = field(default_factory=Tower)
    texts: FakeBulkTextEmbedder = field(default_factory=FakeBulkTextEmbedder)

    def add(self, seed: int, data: bytes | None = None) -> int:
        data = data or encoded(photograph(24, 24, seed), "PNG")
        key = f"shops/{self.photos.shop_id}/{seed}.png"
        self.media.save(key, data)
        sha256 = hashlib.sha256(data).hexdigest()
        status = ImageStatus.EMBEDDED
        (image_id,) = self.photos.add(status=status, photo_key=key, photo_sha256=sha256, name=f"dress {seed}")
        return image_id

    def fill(self, *image_ids: int, photos_per_call: int | None = None) -> Filled:
        database = self.photos.database
        parts = IndexingParts(
            database=database,
            vectors=cast(VectorStore, self.index),
            version_id=VERSION,
            model_key=KEY,
            args=IndexerArgs(embed_batch=2),
            judge=Judge(database, KEY, 20.0, TagArgs(), 0.98),
            media=self.media,
            geometry=ImageGeometry(8, 8),
            max_pixels=10_000,
        )
        return fill_photos(parts, BulkEmbedders(self.tower, self.texts), image_ids, photos_per_call)

    def missing(self) -> int:
        with self.photos.database.transaction() as session:
            return index_versions.missing(session, KEY)

    def stored(self) -> dict[int, Vector]:
        with self.photos.database.transaction() as session:
            return embeddings.load(session, self.photos.shop_id, KEY)


@pytest.fixture
def filling(own_database: Database, tmp_path: Path) -> Filling:
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM image"))
    return Filling(Photos(own_database, create_shop(own_database)), MediaStore(f"file://{tmp_path}"))


def test_index_and_database_get_the_same_vectors_once(filling: Filling) -> None:
    ids = [filling.add(seed) for seed in range(5)]
    assert filling.missing() == 5
    assert filling.fill(*ids) == Filled(5)
    assert filling.missing() == 0
    assert filling.stored().keys() == filling.index.vectors.keys() == set(ids)
    for image_id, vector in filling.stored().items():
        np.testing.assert_array_equal(vector, filling.index.vectors[image_id])
    assert len({vector.tobytes() for vector in filling.stored().values()}) > 1
    row = filling.photos.read(ids[0])
    assert (row.status, row.lease_token, row.vector_revision) == (ImageStatus.EMBEDDED, None, 0)
    assert filling.fill(*ids) == Filled(0)
    assert filling.tower.seen == 5


@pytest.mark.parametrize(("photos_per_call", "calls"), [(None, [2, 2, 1]), (4, [4, 1]), (200, [5])])
def test_the_model_gets_as_many_photos_at_once_as_it_wants(
    filling: Filling, photos_per_call: int | None, calls: list[int]
) -> None:
    ids = [filling.add(seed) for seed in range(5)]
    assert filling.fill(*ids, photos_per_call=photos_per_call) == Filled(5)
    assert filling.tower.calls == calls


def test_where_text_has_a_weight_the_item_is_indexed_and_its_photo_not_embedded_again(
    filling: Filling,
) -> None:
    image_id = filling.add(1)
    filling.fill(image_id)
    with filling.photos.database.transaction() as session:
        shop = {"id": filling.photos.shop_id}
        session.execute(text("UPDATE shop SET text_weight = 0.5 WHERE id = :id"), shop)
    assert filling.missing() == 1
    assert filling.fill(image_id) == Filled(1)
    assert (filling.missing(), filling.tower.seen) == (0, 1)
    mixed = item_vector(filling.stored()[image_id], vector_of(item_text("dress 1", "")), 0.5)
    np.testing.assert_allclose(filling.index.vectors[image_id], mixed, atol=1e-6)
    assert filling.photos.read(image_id).vector_revision == 1, "the former vector may be in caches"


def test_an_unreadable_photo_is_reported_and_the_others_are_filled(filling: Filling) -> None:
    good, broken, gone = filling.add(1), filling.add(2, b"no photo"), filling.add(3)
    filling.media.delete_tree(filling.photos.read(gone).photo_key)
    result = filling.fill(good, broken, gone)
    assert result.photos == 1
    assert result.unreadable.keys() == {broken, gone}
    assert result.unreadable[gone] == "The stored photo is gone."
    assert filling.photos.read(broken).status is ImageStatus.EMBEDDED, "shoppers find it still"
    assert filling.photos.read(broken).lease_token is None


def test_without_the_index_nothing_counts_as_filled_and_nothing_stays_held(filling: Filling) -> None:
    image_id = filling.add(1)
    filling.index.fails = True
    with pytest.raises(DependencyUnavailable):
        filling.fill(image_id)
    assert (filling.missing(), filling.photos.read(image_id).lease_token) == (1, None)


def test_a_photo_deleted_meanwhile_gets_no_vector(filling: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    image_id, other = filling.add(1), filling.add(2)
    real = reindexing.lock_unchanged

    def delete(image: Image) -> None:
        image.status = ImageStatus.DELETING

    def deleted_first(*arguments: object) -> object:
        filling.photos.change(delete, image_id)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reindexing, "lock_unchanged", deleted_first)
    assert filling.fill(image_id, other) == Filled(1)
    assert filling.stored().keys() == {other}
    assert filling.photos.read(image_id).lease_token is None, "so that its deletion goes on at once"
