"""How much work waits. The look spans shops: a database of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from db import jobs, work_levels
from db.session import Database
from db.work_levels import WorkLevels
from models.job import JobKind
from tests.integration.test_work_signs import MANY_PHOTOS, rows_read
from tests.services import create_shop

CHANGES = (
    "UPDATE image SET status = 'failed' WHERE sku::int <= 2",
    "UPDATE image SET status = 'pending' WHERE sku::int BETWEEN 3 AND 5",
    "UPDATE image SET metadata_revision = indexed_revision + 1 WHERE sku::int BETWEEN 6 AND 9",
    "UPDATE image SET updated_at = now() - interval '1 hour' WHERE sku::int IN (1, 3, 6)",
)
AUDIT = """
    WITH version AS (
        INSERT INTO index_version (model_key, dimension, state) VALUES ('m', 2, 'live') RETURNING id)
    INSERT INTO index_audit (version_id, shop_id, found, repaired)
    SELECT id, :shop_id, CAST(:found AS jsonb), CAST(:repaired AS jsonb) FROM version
"""


@pytest.fixture
def database(own_database: Database) -> Iterator[Database]:
    yield own_database
    with own_database.transaction() as session:
        session.execute(text("TRUNCATE shop, image, job, index_version CASCADE"))


def read(database: Database) -> WorkLevels:
    with database.transaction() as session:
        return work_levels.read(session)


def test_what_waits_and_failed_is_counted_with_its_age(database: Database) -> None:
    assert read(database).photos == {"metadata": 0}
    shop_id = create_shop(database)
    audit = {
        "found": json.dumps({"found": {"missing": 3, "stale": 1}, "left": 1}),
        "repaired": json.dumps({"missing": 3}),
    }
    with database.transaction() as session:
        session.execute(text(MANY_PHOTOS), {"shop_id": shop_id})
        for change in CHANGES:
            session.execute(text(change))
        jobs.add(session, JobKind.DELETE_SHOP, shop_id)
        session.execute(text(AUDIT), {"shop_id": shop_id} | audit)
    levels = read(database)
    assert levels.photos == {"failed": 2, "pending": 3, "metadata": 4}
    assert levels.photo_age_s.keys() == levels.photos.keys()
    assert all(3600 <= age_s < 3900 for age_s in levels.photo_age_s.values())
    assert levels.jobs == {("delete_shop", "queued"): 1}
    assert (levels.found, levels.repaired) == ({"missing": 3, "stale": 1}, {"missing": 3})
    assert levels.left == {"all": 1}


def test_photos_without_work_are_not_read(database: Database) -> None:
    """Whatever PostgreSQL has counted: the statistics say that most photos wait for one thing or another."""
    with database.transaction() as session:
        session.execute(text(MANY_PHOTOS), {"shop_id": create_shop(database)})
        session.execute(text("UPDATE image SET status = 'pending'"))
    with database.session_maker()() as session:
        session.execute(text("VACUUM ANALYZE image"))
        session.execute(text("UPDATE image SET status = 'embedded', metadata_revision = indexed_revision"))
        session.execute(text("VACUUM image"))
    before = rows_read(database)
    assert read(database).photos == {"metadata": 0}
    assert rows_read(database) - before < 50
