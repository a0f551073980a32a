"""Which index versions the Indexer works for, by the rows of a database of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from sqlalchemy import delete

from db import index_versions
from db.session import Database
from models.errors import AppError, DependencyUnavailable
from models.image import IndexVersion
from serve_app.maintained_versions import MaintainedVersions
from tests.services import make_live

LIVE = 7


@dataclass
class Models:
    """Connects to versions by their model keys, unless something is wrong."""

    connected: list[str] = field(default_factory=list)
    cannot_connect: AppError | None = None
    does_not_answer: AppError | None = None

    def connect(self, version: IndexVersion) -> str:
        if self.cannot_connect is not None:
            raise self.cannot_connect
        self.connected.append(version.model_key)
        return version.model_key

    async def probe(self, _: str) -> None:
        if self.does_not_answer is not None:
            raise self.does_not_answer


@pytest.fixture
def database(own_database: Database) -> Database:
    with own_database.transaction() as session:
        session.execute(delete(IndexVersion))
    return own_database


def begin(database: Database) -> int:
    with database.transaction() as session:
        return index_versions.begin(session, "b@1", 16, "/b", "1").id or 0


async def test_the_building_version_counts_while_it_answers_and_goes_live_with_the_flip(
    database: Database,
) -> None:
    models = Models()
    versions = MaintainedVersions(database, models.connect, models.probe)
    await versions.look()
    assert (versions.live, versions.building) == (None, None)
    make_live(database, LIVE, "a@1")
    built = begin(database)
    await versions.look()
    assert (versions.live, versions.building, versions.beside) == ("a@1", "b@1", None)
    await versions.ask()
    assert versions.beside == "b@1"
    models.does_not_answer = DependencyUnavailable("It does not answer.")
    await versions.ask()
    assert (versions.building, versions.beside) == ("b@1", None)
    with database.transaction() as session:
        index_versions.flip(session, built)
    await versions.look()
    assert (versions.live, versions.building, versions.beside) == ("b@1", None, None)
    assert models.connected == ["a@1", "b@1"], "each once"


async def test_no_work_is_begun_for_a_version_that_cannot_be_connected_to(database: Database) -> None:
    make_live(database, LIVE, "a@1")
    models = Models(cannot_connect=DependencyUnavailable("The application does not run."))
    versions = MaintainedVersions(database, models.connect, models.probe)
    await versions.look()
    assert versions.live is None
    models.cannot_connect = None
    await versions.look()
    assert versions.live == "a@1"
