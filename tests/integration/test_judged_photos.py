"""What the model says of photos while they are indexed, step by step, with a real database and no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import col, select

from configs.serving import IndexerArgs, TagArgs
from db import embeddings, images, photo_tags, taxonomies, vocabularies, work
from db.media import MediaStore
from db.photo_tags import Suggestion
from db.session import Database
from db.vectors import VectorRecord, VectorStore
from db.work import Claim
from models.errors import DependencyUnavailable
from models.image import Image, ImageStatus
from models.search import Hit
from models.taxonomy import Category
from serve_app import zero_shot
from serve_app.index_parts import IndexingParts
from serve_app.indexing import embed_claim
from serve_app.judge_photos import Judge
from serve_app.photos import ImageGeometry
from serve_app.ports import BulkEmbedders, BulkImageEmbedder, Vector
from serve_app.zero_shot import TEMPLATES, texts_of
from tests.fakes import FakeBulkTextEmbedder, vector_of
from tests.services import Photos, create_shop, make_live, photo_columns

MODEL_KEY = "some/model@1"
SHA = "a" * 64


@dataclass
class MemoryIndex:
    """Exact search over what was upserted, in any shop."""

    rows: dict[int, VectorRecord] = field(default_factory=dict)

    def upsert(self, version_id: int, shop_id: int, records: Sequence[VectorRecord]) -> None:
        assert (version_id, shop_id > 0) == (1, True)
        self.rows |= {record.image_id: record for record in records}

    def query(self, version_id: int, shop_id: int, vectors: Vector, k: int) -> list[list[Hit]]:
        assert (version_id, shop_id > 0) == (1, True)
        hits = [[Hit(id_, float(row.vector @ one)) for id_, row in self.rows.items()] for one in vectors]
        return [sorted(found, key=lambda hit: -hit.score)[:k] for found in hits]


@pytest.fixture
def database(own_database: Database) -> Database:
    make_live(own_database, 1, MODEL_KEY)
    with own_database.transaction() as session:
        session.execute(text("DELETE FROM shop"))
    return own_database


@pytest.fixture
def index() -> MemoryIndex:
    return MemoryIndex()


def parts_of(database: Database, index: MemoryIndex) -> IndexingParts:
    """For photos whose vectors are known: no file is read."""
    return IndexingParts(
        database=database,
        vectors=cast(VectorStore, index),
        version_id=1,
        model_key=MODEL_KEY,
        args=IndexerArgs(retry_delay_s=30),
        judge=Judge(database, MODEL_KEY, 100.0, TagArgs(), 0.98),
        media=cast(MediaStore, None),
        geometry=cast(ImageGeometry, None),
        max_pixels=1,
    )


def looks_like(database: Database, name: str) -> Vector:
    """The vector of a photo that is as its category's text says."""
    with database.transaction() as session:
        term = session.scalars(select(Category).where(col(Category.name) == name)).one()
        return vector_of(f"a photo of {term.name}, {term.description}")


def category(database: Database, name: str) -> int:
    with database.transaction() as session:
        term = session.scalars(select(Category).where(col(Category.name) == name)).one()
        assert term.id is not None
        return term.id


def add(photos: Photos, vector: Vector, **fields: Any) -> int:
    """A pending photo whose vector is known."""
    (image_id,) = photos.add(1, **fields)
    with photos.database.transaction() as session:
        sha256 = session.get_one(Image, image_id).photo_sha256
        embeddings.save(session, MODEL_KEY, [(image_id, sha256, vector)])
    return image_id


def claim(database: Database) -> Claim:
    with database.transaction() as session:
        return work.claim_embedding(session, limit=32, lease_s=60, max_attempts=5)


def index_all(database: Database, index: MemoryIndex, texts: FakeBulkTextEmbedder | None = None) -> int:
    embedders = BulkEmbedders(cast(BulkImageEmbedder, None), texts or FakeBulkTextEmbedder())
    return embed_claim(parts_of(database, index), embedders, claim(database))


def warnings_of(photos: Photos, image_id: int) -> list[dict[str, Any]]:
    with photos.database.transaction() as session:
        row = images.get(session, photos.shop_id, image_id)
        assert row is not None
        listed = images.list_page(session, photos.shop_id, None, 100, only_warned=True)
    assert (image_id in [one.image_id for one in listed]) == bool(row.warnings)
    return row.warnings


def test_a_photo_whose_vector_is_known_is_filled_in_too(
    database: Database, photos: Photos, index: MemoryIndex
) -> None:
    image_id = add(photos, looks_like(database, "Bags"), auto_tag=True)
    assert index_all(database, index) == 1
    row = photos.read(image_id)
    assert row.category_id == category(database, "Bags")
    assert row.suggestions["Category"] > 0.6
    assert index.rows[image_id].terms.category_id == row.category_id
    assert row.metadata_revision == row.indexed_revision, "the index was written once"


def test_what_is_not_sure_stays_empty(database: Database, photos: Photos, index: MemoryIndex) -> None:
    between = looks_like(database, "Bags") + looks_like(database, "Hats")
    image_id = add(photos, (between / np.linalg.norm(between)).astype(np.float32), auto_tag=True)
    assert index_all(database, index) == 1
    assert (photos.read(image_id).category_id, photos.read(image_id).suggestions.get("Category")) == (
        None,
        None,
    )


def test_without_the_text_tower_only_those_wait_that_need_it(
    database: Database, photos: Photos, index: MemoryIndex
) -> None:
    tagged = add(photos, looks_like(database, "Bags"), auto_tag=True)
    stated = add(photos, looks_like(database, "Hats"), category_id=category(database, "Bags"))
    plain = add(photos, looks_like(database, "Shoes"))
    out = FakeBulkTextEmbedder(error=DependencyUnavailable("The text embedder does not answer."))
    assert index_all(database, index, out) == 2
    assert [photos.read(one).status for one in (stated, plain)] == [ImageStatus.EMBEDDED] * 2
    waiting = photos.read(tagged)
    assert (waiting.status, waiting.attempts) == (ImageStatus.PENDING, 0)
    assert "text embedder" in (waiting.error or "")
    photos.change(lambda image: setattr(image, "lease_until", None), tagged)
    assert index_all(database, index) == 1
    assert photos.read(tagged).category_id == category(database, "Bags")


def test_texts_are_not_embedded_for_nothing(database: Database, photos: Photos, index: MemoryIndex) -> None:
    texts = FakeBulkTextEmbedder()
    add(photos, looks_like(database, "Shoes"))
    assert index_all(database, index, texts) == 1
    assert texts.asked == []


def test_a_slow_text_tower_loses_no_lease_and_nothing_that_it_answered(
    database: Database, photos: Photos, index: MemoryIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zero_shot, "TEXTS_PER_STEP", 20)
    image_id = add(photos, looks_like(database, "Bags"), auto_tag=True)
    leases: list[float] = []

    class Slow(FakeBulkTextEmbedder):
        def embed(self, texts: Sequence[str]) -> Vector:
            until = photos.read(image_id).lease_until
            assert until is not None
            leases.append((until - datetime.now(UTC)).total_seconds())
            if len(leases) == 3:
                raise DependencyUnavailable("The text embedder does not answer.")
            photos.change(lambda image: setattr(image, "lease_until", datetime.now(UTC)), image_id)
            return super().embed(texts)

    parts, nobody = parts_of(database, index), cast(BulkImageEmbedder, None)
    assert embed_claim(parts, BulkEmbedders(nobody, Slow()), claim(database)) == 0
    assert min(leases) > 50
    photos.change(lambda image: setattr(image, "lease_until", None), image_id)
    rest = FakeBulkTextEmbedder()
    assert embed_claim(parts, BulkEmbedders(nobody, rest), claim(database)) == 1
    kept = 2 * zero_shot.TEXTS_PER_STEP
    with database.transaction() as session:
        terms = vocabularies.all_terms(session)
    labels = (TEMPLATES[name].label(one.name, one.description) for name, own in terms.items() for one in own)
    assert len(rest.asked) == len(texts_of(labels)) - kept


def test_the_shop_is_not_overruled(database: Database, photos: Photos) -> None:
    bags, hats = category(database, "Bags"), category(database, "Hats")
    chosen, cleared, off, replaced, late, renamed = (
        add(photos, vector_of("photo"), auto_tag=True, name=str(number)) for number in range(6)
    )
    held = claim(database)
    photos.change(lambda image: setattr(image, "category_id", hats), chosen)
    photos.change(lambda image: setattr(image, "suggestions", {"Category": None}), cleared)
    photos.change(lambda image: setattr(image, "auto_tag", False), off)
    photos.change(lambda image: images.replace_photo(image, photo_columns("b" * 64)), replaced)
    photos.change(lambda image: setattr(image, "lease_token", "another"), late)
    photos.change(lambda image: setattr(image, "name", "New name"), renamed)
    suggested = {photo.image_id: {"Category": Suggestion(bags, 0.9)} for photo in held.photos}
    with database.transaction() as session:
        filled = photo_tags.fill(session, held.token, held.photos, suggested)
    found = {one: photos.read(one).category_id for one in (chosen, cleared, off, replaced, late, renamed)}
    assert found == dict.fromkeys((cleared, off, replaced, late)) | {chosen: hats, renamed: bags}
    described = {one.image_id: one for one in filled}
    assert described[renamed] in held.photos, "its new name is not what was claimed: it stays behind"


def test_a_term_that_is_deleted_meanwhile_is_not_filled_in(database: Database, photos: Photos) -> None:
    with database.transaction() as session:
        term = Category(name="Ponchos")
        session.add(term)
        session.flush()
        term_id = term.id or 0
    image_id = add(photos, vector_of("photo"), auto_tag=True)
    held = claim(database)
    with database.transaction() as session:
        found = taxonomies.get_for_deletion(session, Category, term_id)
        assert found is not None
        taxonomies.delete(session, found)
    with database.transaction() as session:
        suggestion = {image_id: {"Category": Suggestion(term_id, 0.9)}}
        photo_tags.fill(session, held.token, held.photos, suggestion)
    assert (photos.read(image_id).category_id, photos.read(image_id).suggestions) == (None, {})


def test_a_replaced_photo_is_judged_anew(database: Database, photos: Photos, index: MemoryIndex) -> None:
    image_id = add(photos, looks_like(database, "Bags"), auto_tag=True)
    index_all(database, index)
    decided = {"Styles": None}
    photos.change(lambda image: setattr(image, "suggestions", image.suggestions | decided), image_id)
    photos.change(lambda image: images.replace_photo(image, photo_columns(SHA)), image_id)
    row = photos.read(image_id)
    assert (row.category_id, row.suggestions, row.warnings) == (None, decided, [])


def test_copies_in_one_claim_warn_of_each_other(
    database: Database, photos: Photos, index: MemoryIndex
) -> None:
    first, second = (add(photos, vector_of("one photo")) for _ in range(2))
    unlike = add(photos, vector_of("something else"))
    assert index_all(database, index) == 3
    assert [one["ImageID"] for one in warnings_of(photos, first)] == [second]
    assert [one["ImageID"] for one in warnings_of(photos, second)] == [first]
    assert warnings_of(photos, second)[0]["sku"] == photos.read(first).sku
    assert warnings_of(photos, unlike) == []


def test_who_is_no_near_duplicate(database: Database, photos: Photos, index: MemoryIndex) -> None:
    """Photos of one product, of another shop, and photos that are gone look the same and are no matter."""
    vector = vector_of("one photo")
    add(photos, vector, product_id="COAT")
    index_all(database, index)
    stranger = Photos(database, create_shop(database))
    add(stranger, vector)
    gone = add(photos, vector, product_id="GONE", photo_sha256="c" * 64)
    index_all(database, index)
    photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), gone)
    variant = add(photos, vector, product_id="COAT")
    assert index_all(database, index) == 1
    assert warnings_of(photos, variant) == []
    other = add(photos, vector, product_id="CAPE")
    another = add(photos, vector, product_id="COAT")
    assert index_all(database, index) == 2
    assert [one["ImageID"] for one in warnings_of(photos, another)] == [other]


@pytest.mark.parametrize("change", ["deleted", "replaced", "same product"])
def test_a_warning_ends_with_what_it_is_about(
    database: Database, photos: Photos, index: MemoryIndex, change: str
) -> None:
    first = add(photos, vector_of("one photo"), product_id="P")
    index_all(database, index)
    second = add(photos, vector_of("one photo"))
    index_all(database, index)
    assert [one["code"] for one in warnings_of(photos, second)] == ["near_duplicate"]
    if change == "deleted":
        photos.change(lambda image: setattr(image, "status", ImageStatus.DELETING), first)
    elif change == "replaced":
        photos.change(lambda image: images.replace_photo(image, photo_columns(SHA)), first)
    else:
        photos.change(lambda image: setattr(image, "product_id", "P"), second)
    assert warnings_of(photos, second) == []


def test_a_wrong_category_is_warned_of_until_it_is_changed(
    database: Database, photos: Photos, index: MemoryIndex
) -> None:
    bags, hats = category(database, "Bags"), category(database, "Hats")
    wrong = add(photos, looks_like(database, "Bags"), category_id=hats)
    right = add(photos, looks_like(database, "Shoes"), category_id=category(database, "Shoes"))
    index_all(database, index)
    (warning,) = warnings_of(photos, wrong)
    assert (warning["code"], warning["Category"], warning["suggested"]) == (
        "category_contradicted",
        hats,
        bags,
    )
    assert (warning["stated_name"], warning["suggested_name"]) == ("Hats", "Bags")
    assert warnings_of(photos, right) == []
    photos.change(lambda image: setattr(image, "category_id", None), wrong)
    assert warnings_of(photos, wrong) == []


@pytest.mark.parametrize(
    ("stated", "best", "warned"),
    [(0.04, 0.5, True), (0.05, 0.9, False), (0.0, 0.49, False), (0.9, 0.9, False)],
)
def test_both_thresholds_must_be_passed(database: Database, stated: float, best: float, warned: bool) -> None:
    assert parts_of(database, MemoryIndex()).judge.contradicted(stated, best) is warned
