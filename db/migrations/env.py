"""Run by Alembic: with the caller's connection (``db.migrate``), or with one that the environment names."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection
from sqlmodel import SQLModel

from configs.settings import Settings
from db.session import connect
from models import (
    event,
    image,
    index_audit,
    job,
    mail,
    prompt,
    score_floor,
    shop,
    staff,
    taxonomy,
    webhook,
)
from models.errors import ConfigurationError

TABLE_MODULES = (
    event,
    image,
    index_audit,
    job,
    mail,
    prompt,
    score_floor,
    shop,
    staff,
    taxonomy,
    webhook,
)


def run(connection: Connection) -> None:
    """Apply the migrations in the connection's transaction."""
    context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


def run_from_environment() -> None:
    """For ``alembic …`` on the command line."""
    url = Settings().sqlalchemy_url()
    if url is None:
        raise ConfigurationError("set DATABASE_URL, or DB_NAME and DB_USER, to name the database to migrate")
    engine = connect(url, connections=1)
    with engine.begin() as connection:
        run(connection)
    engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    run_from_environment()
