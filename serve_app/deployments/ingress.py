"""The HTTP front: FastAPI inside a Serve deployment."""

from __future__ import annotations

import asyncio
from dataclasses import fields

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.serving import LimitArgs
from configs.settings import Settings, derive_secret
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorStore
from models.errors import ConfigurationError
from models.image import IndexVersion
from models.search import VersionRef
from serve_app.api import create_api
from serve_app.callers import CallerCache
from serve_app.context import ServingContext
from serve_app.deployments.logs import flush_serve_log, use_serve_log
from serve_app.deployments.metrics import Published
from serve_app.deployments.towers import with_towers
from serve_app.handles import VectorIndexHandle
from serve_app.index_queries import IndexQueries
from serve_app.live_version import LiveVersion
from serve_app.outbound.urls import UrlRule
from serve_app.passwords import Passwords
from serve_app.photo_quota import PhotoQuota
from serve_app.ports import EventCounter, TextEmbedder
from serve_app.prompt_cache import PromptCache
from serve_app.prompt_log import PromptLog
from serve_app.rate_counters import RedisCounters
from serve_app.rate_limits import RateLimiter
from serve_app.secrets import KeyMint, LinkMint, PhotoSigner, ReportSigner, WebhookMint
from serve_app.services import Services
from serve_app.shown_rows import ShownRows
from serve_app.tasks.served_version import ServedVersion


class Ingress:
    """Turns handles and addresses into ``Services``; the routes do the rest.

    The Indexer's handle is not called: it makes the Indexer part of the application.
    """

    def __init__(
        self,
        context: ServingContext,
        text_embedder: DeploymentHandle,
        image_embedder: DeploymentHandle,
        search_index: DeploymentHandle,
        indexer: DeploymentHandle,
    ) -> None:
        use_serve_log()
        settings, args = Settings(), context.args
        self._main, self._index = ServedVersion(context, image_embedder, text_embedder), search_index
        if settings.media_url is None or settings.secret_key is None or settings.chroma_url is None:
            raise ConfigurationError("MEDIA_URL, SECRET_KEY and CHROMA_URL must be set.")
        self._queries = IndexQueries(VectorStore(settings.chroma_url, args.collection), args.calls)
        secret = settings.secret_key.get_secret_value()
        self._indexer = indexer
        self._published = Published()
        count = self._published.count
        self._hits = count("fashion_prompt_cache_hits", "Prompts whose vector was remembered.")
        self._misses = count("fashion_prompt_cache_misses", "Prompts that the TextEmbedder was asked for.")
        database = Database.configured(connections=args.database_connections)
        mint = KeyMint(secret)
        self._services = Services(
            database=database,
            shown=ShownRows(database),
            media=MediaStore(settings.media_url),
            text_embedder=self._texts(self._main),
            image_embedder=self._main.photos(),
            index=self._index_of(context),
            keys=mint,
            callers=CallerCache(database, mint, args.accounts),
            limiter=_limiter(
                args.limits,
                settings,
                count("fashion_unchecked_requests", "Requests served without limits: no Redis."),
            ),
            prompt_log=PromptLog(
                database, count("fashion_unlogged_prompts", "Answered prompts that are missing in the log.")
            ),
            photo_quota=PhotoQuota(args.limits.photos),
            signer=PhotoSigner(secret, args.photos.url_lifetime_s),
            report_signer=ReportSigner(secret),
            limits=args.limits,
            links=LinkMint(secret),
            webhooks=WebhookMint(secret),
            outbound_rule=UrlRule.of(args.fetch),
            photos=args.photos,
            search=args.search,
            imports=args.imports,
            model=context.model,
            accounts=args.accounts,
            passwords=Passwords(),
            cookie_secret=derive_secret(secret, "admin-cookie").hex(),
            page_base=settings.page_base(),
            shows_links=settings.smtp_host is None,
            public_url=settings.public_url,
            trusted_proxies=settings.trusted_proxies,
        )
        self._publish()
        self._publishing = asyncio.get_running_loop().create_task(self._published.run())

    def _publish(self) -> None:
        published, services = self._published, self._services
        published.describe(
            {
                "fashion_requests": "Requests by method, template of their route, and status.",
                "fashion_stage_seconds": "Seconds of an answer's parts, and of a whole recommendation.",
            }
        )
        published.add_up("fashion_requests", services.requests)
        for stage in fields(services.stages):
            seconds = getattr(services.stages, stage.name)
            published.add_up("fashion_stage_seconds", seconds, stage=stage.name)
        published.watch("chroma", self._queries.batches)
        published.watch("rows", services.shown.batches)
        published.each_time(flush_serve_log)

    def __serve_build_asgi_app__(self) -> FastAPI:
        live = LiveVersion(self._services, self._main.context.version_id, self._services_of)
        return create_api(self._services, live)

    def _texts(self, served: ServedVersion) -> TextEmbedder:
        embedder, size = served.texts(), served.context.args.calls.cached_prompts
        self._published.watch("prompt_calls", embedder.batches)
        return PromptCache(embedder, size, self._hits, self._misses) if size else embedder

    def _services_of(self, version: IndexVersion) -> Services:
        """Raises as ``with_towers`` does."""
        served = with_towers(self._main, version)
        return self._services.of_version(
            served.context.model, self._texts(served), served.photos(), self._index_of(served.context)
        )

    def _index_of(self, context: ServingContext) -> VectorIndexHandle:
        ref = VersionRef(context.version_id, context.model.key, context.model.dimension)
        args = context.args
        index = VectorIndexHandle(self._index, self._queries, args.timeouts.search_s, ref, args.calls)
        self._published.watch("search_calls", index.batches)
        return index


def _limiter(limits: LimitArgs, settings: Settings, unchecked: EventCounter) -> RateLimiter:
    shared = None if settings.redis_url is None else RedisCounters(settings.redis_url.get_secret_value())
    return RateLimiter(limits, unchecked, shared)


IngressApp = serve.ingress()(Ingress)
