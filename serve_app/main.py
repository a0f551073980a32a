"""The one place where deployments are bound together."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application

from configs.serving import AppArgs
from serve_app.deployment_options import OPTIONS
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

    The ``deployments`` of a config override the options in ``deployment_options``.
    """
    context = serving_context(AppArgs.model_validate(args))
    hub_timeout_s = context.args.model.hub_timeout_s
    text = _deployment(embedder, "TextEmbedder").bind(
        "text", context.model, context.args.text_embedder, hub_timeout_s
    )
    image = _deployment(embedder, "ImageEmbedder").bind(
        "image", context.model, context.args.image_embedder, hub_timeout_s
    )
    search = _deployment(SearchIndex, "SearchIndex").bind(context)
    indexer = _deployment(Indexer, "Indexer").bind(context, image, text)
    return _deployment(IngressApp, "Ingress").bind(context, text, image, search, indexer)


def _deployment(kind: Any, name: str) -> serve.Deployment:
    return serve.deployment(kind, name=name, **OPTIONS[name])
