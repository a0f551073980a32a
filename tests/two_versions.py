"""Two versions of the index, one live and one being built: real PostgreSQL and Chroma, and fake models."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, text

from configs.serving import IndexerArgs, TagArgs
from db import index_versions, score_floors, text_weights, work
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError
from models.image import Embedding, ImageStatus, IndexState, IndexVersion
from serve_app.beside import Beside, DescribedBeside
from serve_app.describe_photos import update_metadata
from serve_app.index_parts import IndexingParts
from serve_app.indexing import delete_claim, embed_claim
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders, Pixels, Vector
from tests.drawings import garment
from tests.fakes import FakeBulkTextEmbedder, vector_of
from tests.services import Photos, create_shop

# The Chroma is everybody's: every test has collections of its own by its versions.
NUMBERS = count(71_000)


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
    """One version with its model."""

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

    def delete(self, *image_ids: int) -> int:
        """As the shop does, and then the worker."""
        self.photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), *image_ids)
        return self.remove()

    def remove(self) -> int:
        with self.photos.database.transaction() as session:
            claim = work.claim_deleting(session, limit=10, lease_s=60)
        return delete_claim(self.live.parts, claim)


def two_versions(database: Database, vectors: VectorStore, directory: Path) -> Bench:
    """Of one shop, in a database that has no other."""
    with database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
        session.execute(delete(IndexVersion))
    photos, media = Photos(database, create_shop(database)), MediaStore(directory.as_uri())
    live, built = (Version(next(NUMBERS), photos, vectors, media) for _ in range(2))
    with database.transaction() as session:
        for version, state in ((live, IndexState.LIVE), (built, IndexState.BUILDING)):
            row = {"id": version.version_id, "model_key": version.model_key, "dimension": 16}
            session.add(IndexVersion(**row, state=state))
    return Bench(photos, live, built)
