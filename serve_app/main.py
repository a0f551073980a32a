"""The one place where deployments are bound together."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application

from configs.serving import AppArgs
from configs.settings import Settings
from db import index_versions
from db.session import Database
from models.errors import ConfigurationError
from serve_app.context import ServingContext
from serve_app.deployments.embedder import Embedder
from serve_app.deployments.indexer import Indexer
from serve_app.deployments.ingress import IngressApp
from serve_app.deployments.search_index import SearchIndex
from serve_app.served_model import choose_model


def build_app(args: dict[str, Any]) -> Application:
    """The application of a Serve config's ``args``; raises ConfigurationError, ValidationError.

    Deployment options here are those of a small machine; the ``deployments`` of a config override them.
    """
    context = serving_context(AppArgs.model_validate(args))
    hub_timeout_s = context.args.model.hub_timeout_s
    text = _embedder("TextEmbedder").bind("text", context.model, context.args.text_embedder, hub_timeout_s)
    image = _embedder("ImageEmbedder").bind(
        "image", context.model, context.args.image_embedder, hub_timeout_s
    )
    search = serve.deployment(
        SearchIndex,
        name="SearchIndex",
        max_ongoing_requests=128,
        max_queued_requests=512,
        user_config={},
        ray_actor_options={"num_cpus": 0.1},
    ).bind(context.version_id, context.args.collection)
    indexer = serve.deployment(
        Indexer, name="Indexer", num_replicas=1, ray_actor_options={"num_cpus": 0.1}
    ).bind(context, image)
    return serve.deployment(
        IngressApp, name="Ingress", max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.2}
    ).bind(context, text, image, search, indexer)


def serving_context(args: AppArgs) -> ServingContext:
    """Choose the model and the index version that goes with it. Raises ConfigurationError."""
    url = Settings().sqlalchemy_url()
    if url is None:
        raise ConfigurationError(
            "No database is configured. Set DATABASE_URL or DB_NAME, DB_USER, DB_PASSWORD."
        )
    model = choose_model(args.model)
    database = Database(url, connections=1)
    try:
        with database.transaction() as session:
            version = index_versions.ensure_live(session, model.key, model.dimension)
            version_id = version.id
    finally:
        database.close()
    if version_id is None:
        raise AssertionError("a stored row has an id")
    return ServingContext(args, model, version_id)


def _embedder(name: str) -> serve.Deployment:
    return serve.deployment(
        Embedder,
        name=name,
        max_ongoing_requests=64,
        max_queued_requests=512,
        user_config={},
        ray_actor_options={"num_cpus": 0.3},
    )
