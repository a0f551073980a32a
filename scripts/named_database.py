"""Which database a command works on: that of a local service's data directory, or the environment's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from configs.settings import Settings
from models.errors import ConfigurationError
from serve_app.data_directory import DataDirectory
from serve_app.local_services import LocalPostgres


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
    directory.create()
    server = LocalPostgres(directory.path)
    try:
        yield server.start()
    finally:
        server.stop()
