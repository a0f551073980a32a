"""The HTTP front: FastAPI inside a Serve deployment."""

from __future__ import annotations

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.serving import LimitArgs
from configs.settings import Settings, derive_secret
from db.media import MediaStore
from db.session import Database
from models.errors import ConfigurationError
from models.image import IndexVersion
from models.search import VersionRef
from serve_app.api import create_api
from serve_app.callers import CallerCache
from serve_app.context import ServingContext
from serve_app.deployments.logs import use_serve_log
from serve_app.deployments.metrics import RayCounter
from serve_app.deployments.towers import with_towers
from serve_app.handles import VectorIndexHandle
from serve_app.live_version import LiveVersion
from serve_app.outbound.urls import UrlRule
from serve_app.passwords import Passwords
from serve_app.photo_quota import PhotoQuota
from serve_app.ports import TextEmbedder
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
        if settings.media_url is None or settings.secret_key is None:
            raise ConfigurationError("MEDIA_URL and SECRET_KEY must be set.")
        secret = settings.secret_key.get_secret_value()
        self._indexer = indexer
        self._hits = RayCounter("fashion_prompt_cache_hits", "Prompts whose vector was remembered.")
        self._misses = RayCounter(
            "fashion_prompt_cache_misses", "Prompts that the TextEmbedder was asked for."
        )
        database = Database.configured(connections=args.database_connections)
        mint = KeyMint(secret)
        self._services = Services(
            database=database,
            shown=ShownRows(database),
            media=MediaStore(settings.media_url),
            text_embedder=self._texts(self._main),
            image_embedder=self._main.photos(),
            index=_index(search_index, context),
            keys=mint,
            callers=CallerCache(database, mint, args.accounts),
            limiter=_limiter(args.limits, settings),
            prompt_log=PromptLog(database, _unlogged_prompts()),
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

    def __serve_build_asgi_app__(self) -> FastAPI:
        live = LiveVersion(self._services, self._main.context.version_id, self._services_of)
        return create_api(self._services, live)

    def _texts(self, served: ServedVersion) -> TextEmbedder:
        embedder, size = served.texts(), served.context.args.calls.cached_prompts
        return PromptCache(embedder, size, self._hits, self._misses) if size else embedder

    def _services_of(self, version: IndexVersion) -> Services:
        """Raises as ``with_towers`` does."""
        served = with_towers(self._main, version)
        return self._services.of_version(
            served.context.model, self._texts(served), served.photos(), _index(self._index, served.context)
        )


def _index(handle: DeploymentHandle, context: ServingContext) -> VectorIndexHandle:
    ref = VersionRef(context.version_id, context.model.key, context.model.dimension)
    return VectorIndexHandle(handle, context.args.timeouts.search_s, ref, context.args.calls)


def _limiter(limits: LimitArgs, settings: Settings) -> RateLimiter:
    unchecked = RayCounter("fashion_unchecked_requests", "Requests served without limits: no Redis.")
    shared = None if settings.redis_url is None else RedisCounters(settings.redis_url.get_secret_value())
    return RateLimiter(limits, unchecked, shared)


def _unlogged_prompts() -> RayCounter:
    return RayCounter("fashion_unlogged_prompts", "Answered prompts that are missing in the log.")


IngressApp = serve.ingress()(Ingress)
