"""Work on photos while a second version of the index is being built: real PostgreSQL and Chroma."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete

from db import embeddings, work
from db.session import Database
from db.vectors import VectorStore
from models.errors import DependencyUnavailable
from models.image import Embedding, ImageStatus
from serve_app.describe_photos import update_metadata
from serve_app.indexing import embed_claim
from serve_app.item_vectors import item_vector
from tests.fakes import vector_of
from tests.two_versions import Bench, two_versions

OUT = DependencyUnavailable("It does not answer.")


@pytest.fixture
def bench(own_database: Database, vectors: VectorStore, tmp_path: Path) -> Bench:
    return two_versions(own_database, vectors, tmp_path)


def test_a_new_photo_goes_to_both_versions_and_is_deleted_from_all(bench: Bench) -> None:
    image_id = bench.add()
    assert bench.embed() == 1
    both = (bench.live, bench.built)
    for version in both:
        version.assert_has(image_id, vector_of(version.model_key))
    assert [version.floor_revision() for version in both] == [1, 1]
    bench.flip()
    assert bench.delete(image_id) == 1
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
