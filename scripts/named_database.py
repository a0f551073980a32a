"""Which database a command works on: that of a local service's data directory, or the environment's."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from configs.settings import Settings
from db.migrate import upgrade
from db.session import Database
from models.errors import ConfigurationError
from serve_app.data_directory import DataDirectory
from serve_app.local_services import LocalPostgres


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """The argument that ``named_database`` is given."""
    where = "the data directory of a local service; without it the environment names the database"
    parser.add_argument("--data-dir", type=Path, help=where)


@contextmanager
def named_database(data_dir: Path | None) -> Iterator[str | URL]:
    """The address, good while the block lasts, whether the directory's service runs or not.

    Raises ConfigurationError where nothing names a database.
    """
    if data_dir is None:
        url = Settings().sqlalchemy_url()
        if url is None:
            raise ConfigurationError(
                "No database is named. Give --data-dir DIR, or set DATABASE_URL (or DB_NAME, DB_USER, "
                "DB_PASSWORD)."
            )
        yield url
        return
    directory = DataDirectory(data_dir)
    elsewhere = _elsewhere(directory)
    if elsewhere is not None:
        yield elsewhere
        return
    directory.create()
    server = LocalPostgres(directory.path)
    try:
        yield server.start()
    finally:
        server.stop()


@contextmanager
def opened_database(data_dir: Path | None, connections: int = 1) -> Iterator[Database]:
    """The same opened, with this release's tables. Raises ConfigurationError."""
    with named_database(data_dir) as url:
        upgrade(url)
        database = Database(url, connections=connections)
        try:
            yield database
        finally:
            database.close()


@contextmanager
def existing_database(data_dir: Path | None, connections: int = 1) -> Iterator[Database]:
    """The same for commands that make no sense on a new one.

    Raises ConfigurationError, also for a directory that no service ever used.
    """
    directory = DataDirectory(data_dir) if data_dir is not None else None
    if directory is not None and not (_elsewhere(directory) or (directory.path / "postgres").is_dir()):
        raise ConfigurationError(f"{data_dir} is no data directory of a service. Check --data-dir.")
    with opened_database(data_dir, connections) as database:
        yield database


def _elsewhere(directory: DataDirectory) -> str | None:
    """The database of the service that runs there, where its environment named one."""
    running = directory.running()
    return None if running is None or running.local_database else running.database_url
