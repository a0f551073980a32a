from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlmodel import SQLModel

from db import migrate, score_floors, taxonomies, work
from db.session import Database
from models.search import PhotoTerms
from models.taxonomy import AgeGroup, Category, Style
from tests.services import extra_database, make_live

PROJECT = Path(__file__).parents[2]
CATALOGUE = """
SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type, udt_name,
       character_maximum_length, is_nullable, column_default)
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


@pytest.fixture
def empty(postgres_url: str) -> Iterator[Engine]:
    """A second, empty database in the same server."""
    with extra_database(postgres_url, "schema_test") as url:
        yield create_engine(url, poolclass=NullPool)


def catalogue(connection: Connection) -> set[tuple[str, ...]]:
    return {tuple(row) for row in connection.execute(text(CATALOGUE)) if "alembic_version" not in row[1]}


def test_the_migrations_make_what_the_models_say(empty: Engine, database: Database) -> None:
    with empty.begin() as connection:
        SQLModel.metadata.create_all(connection)
        expected = catalogue(connection)
    with database.transaction() as session:
        found = catalogue(session.connection())
        context = MigrationContext.configure(session.connection(), opts={"compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    assert found == expected
    assert len(found) > 80


def test_the_command_migrates(empty: Engine, tmp_path: Path) -> None:
    """As Compose and KubeRay run it: the environment names the database."""
    url = empty.url.render_as_string(hide_password=False)
    for _ in range(2):
        done = _run_migrate(tmp_path, {"DATABASE_URL": url})
        assert (done.returncode, done.stderr) == (0, "The database has this release's schema.\n")
    with empty.connect() as connection:
        assert len(catalogue(connection)) > 80


def test_waiting_ends_when_the_schema_is_there(empty: Engine, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": empty.url.render_as_string(hide_password=False)}
    refused = _run_migrate(tmp_path, variables, "--wait", "0.1")
    assert refused.returncode == 2
    assert "After 0.1 s the database is not ready: the schema is missing" in refused.stderr
    assert not migrate.is_migrated(empty.url)
    migrate.upgrade(empty.url)
    done = _run_migrate(tmp_path, variables, "--wait", "0.1")
    assert (done.returncode, done.stderr) == (0, "The database has this release's schema.\n")


def test_a_later_schema_is_waited_for_no_longer(empty: Engine) -> None:
    """While a release comes, the former one's head may have to start again."""
    migrate.upgrade(empty.url)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    assert migrate.is_migrated(empty.url)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert not migrate.is_migrated(empty.url)


def test_without_a_database_it_says_so(tmp_path: Path) -> None:
    done = _run_migrate(tmp_path, {"DATABASE_URL": ""})
    assert done.returncode == 2
    assert done.stderr.startswith("error: No database is named.")


def _run_migrate(folder: Path, variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.migrate", *options],
        cwd=folder,  # no .env there
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_down_and_up_again(empty: Engine) -> None:
    migrate.upgrade(empty.url)
    with empty.connect() as connection:
        before = catalogue(connection)
    migrate.downgrade(empty.url, "base")
    with empty.connect() as connection:
        assert catalogue(connection) == set()
    migrate.upgrade(empty.url)
    with empty.connect() as connection:
        assert catalogue(connection) == before


OLD_PHOTOS = """
WITH old AS (INSERT INTO shop (name, email, status) VALUES ('Old', 'old@example.com', 'active') RETURNING id)
INSERT INTO image (shop_id, sku, name, photo_key, photo_sha256, photo_bytes, photo_width_px, photo_height_px,
                   photo_type, status, attempts, category_id)
SELECT id, status, 'Dress', '', '', 1, 1, 1, 'image/jpeg', status, 0, 3
  FROM old, unnest(ARRAY['embedded', 'pending', 'deleting']) AS status
"""


def test_photos_from_before_the_terms_were_indexed_are_brought_up_to_date(empty: Engine) -> None:
    migrate.upgrade(empty.url)
    migrate.downgrade(empty.url, "0002")
    with empty.begin() as connection:
        connection.execute(text(OLD_PHOTOS))
    migrate.upgrade(empty.url)
    database = Database(empty.url, connections=1)
    make_live(database, 1, "some@1")
    with database.transaction() as session:
        claim = work.claim_metadata(session, limit=10, lease_s=60)
        assert [(photo.terms, photo.metadata_revision) for photo in claim.photos] == [(PhotoTerms(3), 1)]
        work.finish_metadata(session, claim.token, claim.photos)
        embedding = work.claim_embedding(session, limit=10, lease_s=60, max_attempts=5)
        work.finish_embedded(session, embedding.token, embedding.photos, 1)
        assert len(embedding.photos) == 1
        assert work.claim_metadata(session, limit=10, lease_s=60).photos == []
    database.close()


def test_a_catalogue_from_before_the_score_floors_gets_its_floor(empty: Engine) -> None:
    migrate.upgrade(empty.url)
    migrate.downgrade(empty.url, "0003")
    version = "INSERT INTO index_version (model_key, dimension, state) VALUES ('some@1', 16, 'live')"
    with empty.begin() as connection:
        for statement in (OLD_PHOTOS, version):
            connection.execute(text(statement))
    migrate.upgrade(empty.url)
    with empty.begin() as connection:
        (shop_id,) = connection.scalars(text("SELECT id FROM shop"))
    database = Database(empty.url, connections=1)
    with database.transaction() as session:
        claimed = score_floors.claim(session, "some@1", quiet_s=0, at_most_s=0, lease_s=60)
        assert claimed is not None
        assert (claimed.shop_id, claimed.revision) == (shop_id, 1)
    database.close()


def test_photos_that_are_found_by_their_texts_are_indexed_again_by_the_release_before(empty: Engine) -> None:
    migrate.upgrade(empty.url)
    with empty.begin() as connection:
        connection.execute(text(OLD_PHOTOS))
        connection.execute(
            text("UPDATE image SET status = 'embedded', item_weight = 0.5 WHERE sku <> 'embedded'")
        )
        connection.execute(text("UPDATE image SET item_weight = NULL WHERE sku = 'deleting'"))
    migrate.downgrade(empty.url, "0003")
    with empty.connect() as connection:
        states = connection.execute(text("SELECT sku, status FROM image ORDER BY sku")).all()
    assert states == [("deleting", "pending"), ("embedded", "embedded"), ("pending", "pending")]


def test_terms_from_before_that_differ_in_case_only_are_told_apart(empty: Engine) -> None:
    migrate.upgrade(empty.url)
    migrate.downgrade(empty.url, "0002")
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO style (name, description) VALUES ('CASUAL', '')"))
    migrate.upgrade(empty.url)
    with empty.begin() as connection:
        query = text("SELECT name FROM style WHERE lower(name) LIKE 'casual%' ORDER BY id")
        assert connection.scalars(query).all() == ["Casual", "CASUAL (9)"]


def test_two_processes_may_migrate_at_once(empty: Engine) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty.url)
        except BaseException as error:  # noqa: BLE001 - reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with empty.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM category")) == 17


def test_the_taxonomies_are_filled(own_database: Database) -> None:
    with own_database.transaction() as session:
        categories = taxonomies.list_terms(session, Category)
        styles = taxonomies.list_terms(session, Style)
        age_groups = taxonomies.list_terms(session, AgeGroup)
    assert [len(categories), len(styles), len(age_groups)] == [17, 8, 5]
    assert [categories[-1].name, styles[-1].name, age_groups[-1].name] == ["Accessories", "Party", "Seniors"]
    assert [categories[0].name, styles[0].name, age_groups[0].name] == ["Dresses", "Casual", "Baby"]
    assert all(term.description for term in [*categories, *styles, *age_groups])
