"""The schema: brought to the newest version when the service starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, func, select, text

from db.session import connect, translated

LOCK = 4_811_001


def upgrade(url: str | URL) -> None:
    """Apply every migration that is missing, all or none. Two processes may do so at once."""
    _migrate(url, lambda config: command.upgrade(config, "head"))


def downgrade(url: str | URL, revision: str) -> None:
    """Undo the migrations after ``revision`` (``base``: all of them, with their data)."""
    _migrate(url, lambda config: command.downgrade(config, revision))


def is_migrated(url: str | URL) -> bool:
    """Whether the schema is this release's, or one that this release does not know: a later one's."""
    engine = connect(url, connections=1)
    try:
        with translated(), engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_heads()
    finally:
        engine.dispose()
    scripts = ScriptDirectory.from_config(_config())
    former = {script.revision for script in scripts.walk_revisions()} - set(scripts.get_heads())
    return bool(found) and not former & set(found)


def _migrate(url: str | URL, act: Callable[[Config], None]) -> None:
    engine = connect(url, connections=1)
    try:
        with translated(), engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
            config = _config()
            config.attributes["connection"] = connection
            act(config)
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
