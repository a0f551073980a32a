from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from db import embeddings, images, index_versions, keys, migrate, prompts, shown_photos
from db.session import Database
from db.work import ClaimedPhoto
from models.errors import (
    ConfigurationError,
    Conflict,
    DependencyTimeout,
    DependencyUnavailable,
    UnknownReference,
)
from models.image import Image, ImageStatus, IndexState, IndexVersion
from models.prompt import Prompt
from models.shop import KeyScope, ShopStatus
from tests.services import Photos, create_shop, extra_database, photo_columns
from tests.statements import statements

MODEL = "some/model@1"
SHA = "a" * 64


@pytest.fixture
def database(own_database: Database) -> Database:
    return own_database


def test_a_key_leads_to_its_shop(database: Database, shop_id: int) -> None:
    public_id = uuid.uuid4().hex
    with database.transaction() as session:
        keys.add_key(session, shop_id, public_id, b"\x01" * 32, KeyScope.SECRET)
    with database.transaction() as session:
        found = keys.find_state(session, public_id)
        assert keys.find_state(session, "unknown") is None
    assert found is not None
    assert (found.secret_hmac, found.scope, found.revoked_at) == (b"\x01" * 32, "secret", None)
    assert (found.shop_id, found.shop_status) == (shop_id, ShopStatus.ACTIVE)


def test_an_email_address_signs_up_once(database: Database) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    with database.transaction() as session:
        keys.create_shop(session, "One", email)
        with pytest.raises(Conflict, match=email):
            keys.create_shop(session, "Two", email)
        other = keys.create_shop(session, "Three", f"other-{email}")
        assert other.id is not None


def test_a_sku_is_unique_within_its_shop(database: Database, photos: Photos) -> None:
    (first,) = photos.add(1, sku="DRESS-1")
    with pytest.raises(Conflict, match="DRESS-1"):
        photos.add(1, sku="DRESS-1")
    Photos(database, create_shop(database)).add(1, sku="DRESS-1")
    with database.transaction() as session:
        images.mark_deleting(session, photos.shop_id, first)
    photos.add(1, sku="DRESS-1")
    with pytest.raises(UnknownReference, match=r"Category 99999 .* /api/categories/"):
        photos.add(1, category_id=99_999)


def test_a_photo_is_seen_by_its_shop_only_and_until_deleted(database: Database, photos: Photos) -> None:
    (image_id,) = photos.add(1, category_id=1, age_group_id=4, status=ImageStatus.EMBEDDED)
    stranger = create_shop(database)
    with database.transaction() as session:
        row = images.get(session, photos.shop_id, image_id)
        assert row is not None
        assert (row.category_name, row.style_name, row.age_group_name) == ("Dresses", None, "Adults")
        for shop_id, wanted in ((stranger, image_id), (photos.shop_id, 2**40), (photos.shop_id, -1)):
            assert images.get(session, shop_id, wanted) is None
            assert images.get_for_update(session, shop_id, wanted) is None
            assert not images.mark_deleting(session, shop_id, wanted)
        assert shown_photos.by_id(session.connection(), stranger, [image_id]) == {}
        assert set(shown_photos.by_id(session.connection(), photos.shop_id, [image_id, 2**30])) == {image_id}
        assert images.ids(session, photos.shop_id) == [image_id]
        assert images.mark_deleting(session, photos.shop_id, image_id)
        assert images.get(session, photos.shop_id, image_id) is None
        assert images.get_for_update(session, photos.shop_id, image_id) is None
        assert shown_photos.by_id(session.connection(), photos.shop_id, [image_id]) == {}
        assert images.list_page(session, photos.shop_id, None, 10) == []
        assert images.ids(session, photos.shop_id) == []


def test_the_rows_of_answers_are_planned_anew_now_and_then(
    database: Database, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_ids = photos.add(2, status=ImageStatus.EMBEDDED)
    with database.transaction() as session, statements(database) as sent:
        for _ in range(2):
            assert set(shown_photos.by_id(session.connection(), photos.shop_id, image_ids)) == {*image_ids}
        assert not shown_photos.by_id(session.connection(), photos.shop_id, [])
        monkeypatch.setattr(shown_photos, "_AGAIN_AFTER_S", 0.0)
        assert set(shown_photos.by_id(session.connection(), photos.shop_id, image_ids)) == {*image_ids}
    words = [statement.split()[0] for statement in sent]
    assert words[-5:] == ["EXECUTE", "EXECUTE", "DEALLOCATE", "PREPARE", "EXECUTE"]


def test_pages_go_from_new_to_old(database: Database, photos: Photos) -> None:
    newest_first = photos.add(5)[::-1]
    Photos(database, create_shop(database)).add(1)
    with database.transaction() as session:
        first = images.list_page(session, photos.shop_id, None, 3)
        assert [row.image.id for row in first] == newest_first[:3]
        second = images.list_page(session, photos.shop_id, first[-1].image.id, 3)
        assert [row.image.id for row in second] == newest_first[3:]
        assert images.list_page(session, photos.shop_id, newest_first[-1], 3) == []


def claimed(shop_id: int, image_id: int, sha256: str = SHA) -> ClaimedPhoto:
    return ClaimedPhoto(image_id, shop_id, "shops/1/photo.jpg", sha256)


def unit(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_a_vector_comes_back_bit_by_bit(database: Database, photos: Photos) -> None:
    first, second = photos.add(2, photo_sha256=SHA)
    vector = np.random.default_rng(0).normal(size=512).astype(np.float32)
    with database.transaction() as session:
        embeddings.save(session, MODEL, [(first, SHA, vector), (2**30, SHA, vector)])
        embeddings.save(session, MODEL, [(first, SHA, vector * 2), (second, SHA, vector)])
        embeddings.save(session, "other", [(first, SHA, vector * 3)])
        embeddings.save(session, MODEL, [])
        found = embeddings.load(session, photos.shop_id, MODEL)
    assert set(found) == {first, second}
    assert found[first].dtype == np.float32
    np.testing.assert_array_equal(found[first], vector * 2)
    with database.transaction() as session:
        assert set(embeddings.load(session, photos.shop_id, MODEL, [second])) == {second}
        images.replace_photo(session.get_one(Image, second), photo_columns("b" * 64))
        session.flush()
        assert set(embeddings.load(session, photos.shop_id, MODEL)) == {first}
        session.delete(session.get_one(Image, first))


def test_a_known_photo_is_found_within_its_shop_and_model(database: Database, photos: Photos) -> None:
    old, new = photos.add(2, photo_sha256=SHA)
    stranger = create_shop(database)
    shop = photos.shop_id
    with database.transaction() as session:
        embeddings.save(session, MODEL, [(old, SHA, unit(1, 0))])
        wanted = [claimed(shop, old), claimed(shop, new), claimed(shop, 5, "b" * 64), claimed(stranger, 6)]
        found = embeddings.stored(session, wanted, MODEL)
        assert {image_id: vector.tolist() for image_id, vector in found.items()} == {old: [1, 0], new: [1, 0]}
        assert embeddings.stored(session, wanted, "other") == {}
        assert embeddings.stored(session, [], MODEL) == {}
        embeddings.save(session, MODEL, [(new, SHA, unit(0, 1))])
        both = {old: [1, 0], new: [0, 1]}
        for order in (wanted, wanted[::-1]):
            found = embeddings.stored(session, order, MODEL)
            assert {image_id: vector.tolist() for image_id, vector in found.items()} == both
        assert embeddings.stored(session, [claimed(shop, new, "c" * 64)], MODEL) == {}


@pytest.fixture
def fresh(postgres_url: str) -> Iterator[Database]:
    with extra_database(postgres_url, "version_test") as url:
        migrate.upgrade(url)
        database = Database(url, connections=8)
        yield database
        database.close()


def test_one_index_version_is_live_whoever_comes_first(fresh: Database) -> None:
    found: list[int | None] = []

    def worker() -> None:
        with fresh.transaction() as session:
            found.append(index_versions.ensure_live(session, MODEL, 512).id)

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_another_model_takes_over_only_an_index_without_vectors(fresh: Database) -> None:
    photos = Photos(fresh, create_shop(fresh))
    with fresh.transaction() as session:
        assert index_versions.live(session) is None
        first = index_versions.ensure_live(session, MODEL, 512)
    with fresh.transaction() as session:
        second = index_versions.ensure_live(session, "other", 256)
        assert second.id != first.id
        assert session.get_one(IndexVersion, first.id).state is IndexState.RETIRED
    (image_id,) = photos.add(1)
    with fresh.transaction() as session:
        embeddings.save(session, "other", [(image_id, SHA, unit(1, 0))])
    with fresh.transaction() as session, pytest.raises(ConfigurationError, match=r"'other'.*--data-dir"):
        index_versions.ensure_live(session, MODEL, 512)
    with fresh.transaction() as session:
        live = index_versions.live(session)
        assert live is not None
        assert live.id == second.id


def test_a_prompt_is_logged(database: Database, shop_id: int) -> None:
    prompt = Prompt(
        id=uuid.uuid4(),
        shop_id=shop_id,
        prompt="a red dress",
        number_recommended=2,
        result_ids=[2, 1],
        scores=[0.5, 0.25],
        model_key=MODEL,
        duration_ms=12.5,
    )
    with database.transaction() as session:
        prompts.add(session, [prompt])
    with database.transaction() as session:
        found = session.get_one(Prompt, prompt.id)
    assert (found.result_ids, found.scores, found.filters) == ([2, 1], [0.5, 0.25], {})
    assert found.created_at is not None


async def test_transactions_run_beside_the_event_loop(database: Database) -> None:
    started = time.monotonic()
    sleeps = [database.run(lambda session: session.execute(text("SELECT pg_sleep(0.4)"))) for _ in range(4)]
    ticks = asyncio.create_task(asyncio.sleep(0.05))
    await asyncio.wait_for(ticks, timeout=0.35)
    await asyncio.gather(*sleeps)
    assert time.monotonic() - started < 4 * 0.4


async def test_an_error_rolls_back(database: Database, photos: Photos) -> None:
    (image_id,) = photos.add(1)

    def work(session: Session) -> None:
        images.mark_deleting(session, photos.shop_id, image_id)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await database.run(work)
    assert photos.read(image_id).status is ImageStatus.PENDING


def test_an_answer_that_takes_too_long_is_a_timeout(database: Database) -> None:
    query = text("SET LOCAL statement_timeout = 50; SELECT pg_sleep(5)")
    with pytest.raises(DependencyTimeout), database.transaction() as session:
        session.execute(query)


def test_a_lost_connection_is_an_outage_and_then_replaced(database: Database) -> None:
    with pytest.raises(DependencyUnavailable) as caught, database.transaction() as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert "pg_" not in caught.value.message
    database.ping()
    absent = Database("postgresql+psycopg2://nobody@127.0.0.1:1/nothing", connections=1)
    with pytest.raises(DependencyUnavailable, match=r"^The database does not answer\.$"):
        absent.ping()
    absent.close()
