"""Everything that answering a request needs, gathered once per ingress replica."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from configs.serving import AccountArgs, ImportArgs, LimitArgs, PhotoArgs, SearchArgs
from db.media import MediaStore
from db.session import Database
from serve_app.callers import CallerCache
from serve_app.export_turns import ExportTurns
from serve_app.measures import RequestCounts, Stages
from serve_app.outbound.urls import UrlRule
from serve_app.passwords import Passwords
from serve_app.photo_quota import PhotoQuota
from serve_app.ports import ImageEmbedder, TextEmbedder, VectorIndex
from serve_app.prompt_log import PromptLog
from serve_app.rate_limits import RateLimiter
from serve_app.secrets import KeyMint, LinkMint, PhotoSigner, ReportSigner, WebhookMint
from serve_app.served_model import ServedModel
from serve_app.shown_rows import ShownRows
from serve_app.zero_shot import TextVectors

ANALYTICS_AT_ONCE = 2  # so that most connections stay with the shoppers


@dataclass(frozen=True)
class Services:
    """One index version is answered with. A request takes them once and keeps them, to its end."""

    database: Database
    shown: ShownRows
    media: MediaStore
    text_embedder: TextEmbedder
    image_embedder: ImageEmbedder
    index: VectorIndex
    keys: KeyMint
    callers: CallerCache
    limiter: RateLimiter
    prompt_log: PromptLog
    photo_quota: PhotoQuota
    signer: PhotoSigner
    report_signer: ReportSigner
    limits: LimitArgs
    links: LinkMint
    webhooks: WebhookMint
    outbound_rule: UrlRule
    photos: PhotoArgs
    search: SearchArgs
    model: ServedModel
    accounts: AccountArgs
    passwords: Passwords
    cookie_secret: str
    page_base: str
    imports: ImportArgs = field(default_factory=ImportArgs)
    shows_links: bool = False
    public_url: str | None = None
    trusted_proxies: int = 0
    exports: ExportTurns = field(default_factory=ExportTurns)
    analytics_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ANALYTICS_AT_ONCE))
    text_vectors: TextVectors = field(default_factory=TextVectors)
    requests: RequestCounts = field(default_factory=RequestCounts)
    stages: Stages = field(default_factory=Stages)

    def of_version(
        self,
        model: ServedModel,
        text_embedder: TextEmbedder,
        image_embedder: ImageEmbedder,
        index: VectorIndex,
    ) -> Services:
        """The same with another index version. All that is counted and cached but vectors is shared."""
        return replace(
            self,
            model=model,
            text_embedder=text_embedder,
            image_embedder=image_embedder,
            index=index,
            text_vectors=TextVectors(),
        )
