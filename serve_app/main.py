"""The one place where deployments are bound together."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application

from configs.serving import AppArgs
from serve_app.deployments.embedder import Embedder
from serve_app.deployments.indexer import Indexer
from serve_app.deployments.ingress import IngressApp
from serve_app.deployments.search_index import SearchIndex
from serve_app.startup import serving_context


def build_app(args: dict[str, Any]) -> Application:
    """The application of a Serve config's ``args``; raises ConfigurationError, ValidationError."""
    return application(args, Embedder)


def application(args: dict[str, Any], embedder: type[Embedder]) -> Application:
    """The same, with towers of that class.

    Deployment options here are those of a small machine; the ``deployments`` of a config override them.
    """
    context = serving_context(AppArgs.model_validate(args))
    hub_timeout_s = context.args.model.hub_timeout_s
    text = _tower(embedder, "TextEmbedder").bind(
        "text", context.model, context.args.text_embedder, hub_timeout_s
    )
    image = _tower(embedder, "ImageEmbedder").bind(
        "image", context.model, context.args.image_embedder, hub_timeout_s
    )
    search = serve.deployment(
        SearchIndex,
        name="SearchIndex",
        max_ongoing_requests=128,
        max_queued_requests=512,
        user_config={},
        ray_actor_options={"num_cpus": 0.1},
    ).bind(context)
    indexer = serve.deployment(
        Indexer, name="Indexer", num_replicas=1, ray_actor_options={"num_cpus": 0.1}
    ).bind(context, image, text)
    return serve.deployment(
        IngressApp, name="Ingress", max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.2}
    ).bind(context, text, image, search, indexer)


def _tower(embedder: type[Embedder], name: str) -> serve.Deployment:
    return serve.deployment(
        embedder,
        name=name,
        max_ongoing_requests=64,
        max_queued_requests=512,
        user_config={},
        ray_actor_options={"num_cpus": 0.3},
    )
