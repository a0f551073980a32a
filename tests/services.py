"""Fixtures on real servers: one PostgreSQL and one Chroma for the whole test session."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, NullPool, create_engine, delete, make_url, text

from configs.serving import CollectionArgs
from db import images, keys, migrate
from db.session import Database
from db.vectors import VectorStore
from models.image import Image, IndexState, IndexVersion, PhotoColumns
from serve_app.local_services import LocalChroma, LocalPostgres


@pytest.fixture(scope="session")
def service_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of the session's servers."""
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="session")
def postgres_url(service_dir: Path) -> Iterator[str]:
    """A migrated database."""
    server = LocalPostgres(service_dir)
    url = server.start()
    try:
        migrate.upgrade(url)
        yield url
    finally:
        server.stop()


@contextmanager
def extra_database(postgres_url: str, name: str) -> Iterator[URL]:
    """A further, empty database in the same server, dropped at the end."""
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    try:
        yield make_url(postgres_url).set(database=name)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def own_database(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[Database]:
    """A migrated database for one test module, where no running service takes the photos away."""
    with extra_database(postgres_url, request.module.__name__.rsplit(".", 1)[-1]) as url:
        migrate.upgrade(url)
        database = Database(url, connections=8)
        yield database
        database.close()


@pytest.fixture(scope="session")
def chroma_url(service_dir: Path) -> Iterator[str]:
    server = LocalChroma(service_dir)
    url = server.start()
    try:
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url, connections=8)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(scope="session")
def vectors(chroma_url: str) -> VectorStore:
    return VectorStore(chroma_url, CollectionArgs())


def create_shop(database: Database) -> int:
    """A shop that no other test uses; returns its id."""
    with database.transaction() as session:
        shop = keys.create_shop(session, "Test shop", f"{uuid.uuid4().hex}@example.com")
        assert shop.id is not None
        return shop.id


def make_live(database: Database, version_id: int, model_key: str) -> None:
    """Let prompts be answered from that version, in a database of the test's own."""
    with database.transaction() as session:
        session.execute(delete(IndexVersion))
        session.add(IndexVersion(id=version_id, model_key=model_key, dimension=16, state=IndexState.LIVE))


@pytest.fixture
def shop_id(database: Database) -> int:
    return create_shop(database)


def photo_columns(sha256: str) -> PhotoColumns:
    """What is stored of a photo's file."""
    return PhotoColumns(
        photo_sha256=sha256,
        photo_bytes=1000,
        photo_width_px=224,
        photo_height_px=224,
        photo_type="image/jpeg",
    )


def make_image(shop_id: int, **fields: Any) -> Image:
    """A row with all that the table asks for; it is not stored."""
    sha256 = fields.pop("photo_sha256", uuid.uuid4().hex * 2)
    values: dict[str, Any] = {
        "sku": uuid.uuid4().hex,
        "name": "Red dress",
        "photo_key": f"shops/{shop_id}/photo.jpg",
        **photo_columns(sha256),
    }
    return Image(shop_id=shop_id, **(values | fields))


@dataclass(frozen=True)
class Photos:
    """Stores photos of one shop and reads them again."""

    database: Database
    shop_id: int

    def add(self, count: int = 1, **fields: Any) -> list[int]:
        with self.database.transaction() as session:
            rows = [images.insert(session, make_image(self.shop_id, **fields)) for _ in range(count)]
            return [row.id for row in rows if row.id is not None]

    def read(self, image_id: int) -> Image:
        with self.database.transaction() as session:
            found = session.get(Image, image_id)
            assert found is not None
            return found

    def change(self, act: Callable[[Image], None], *image_ids: int) -> None:
        with self.database.transaction() as session:
            for image_id in image_ids:
                found = session.get(Image, image_id)
                assert found is not None
                act(found)


@pytest.fixture
def photos(database: Database, shop_id: int) -> Photos:
    return Photos(database, shop_id)
