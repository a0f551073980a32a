"""What must be decided once, before any replica starts."""

from __future__ import annotations

from configs.serving import AppArgs
from db import index_versions
from db.session import Database
from serve_app.context import ServingContext
from serve_app.served_model import choose_model


def serving_context(args: AppArgs) -> ServingContext:
    """Choose the model and the index version that goes with it. Raises ConfigurationError."""
    database = Database.configured(connections=1)
    try:
        with database.transaction() as session:
            former = index_versions.indexed_with(session)
        model = choose_model(args.model, former)
        with database.transaction() as session:
            version = index_versions.ensure_live(session, model.key, model.dimension)
            version_id = version.id
    finally:
        database.close()
    if version_id is None:
        raise AssertionError("a stored row has an id")
    return ServingContext(args, model, version_id)
