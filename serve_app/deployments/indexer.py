"""The background worker: claims work from PostgreSQL and has it carried out. One replica."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

from ray import ObjectRef
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle
from sqlalchemy.orm import Session

from configs.settings import Settings
from db import imports, jobs, mails, score_floors, webhooks, work
from db.imports import ClaimedImport, ClosingImport
from db.jobs import ClaimedJob
from db.mails import ClaimedMail
from db.media import MediaStore
from db.score_floors import ClaimedFloor
from db.session import Database
from db.vectors import VectorStore
from db.webhooks import ClaimedDelivery
from db.work import Claim
from models.errors import AppError, ConfigurationError, DependencyUnavailable
from models.job import JobKind
from serve_app.background_audit import BackgroundAudit
from serve_app.context import ServingContext
from serve_app.deployments.logs import use_serve_log
from serve_app.deployments.metrics import Published
from serve_app.deployments.replica_count import ReplicaCount
from serve_app.deployments.upload_lane import UploadLane, start_upload_worker
from serve_app.deployments.work_loop import Lookout, WorkLoop
from serve_app.deployments.work_metrics import DESCRIPTIONS, of_model, of_work
from serve_app.deployments.workshop import Workshop, Workshops
from serve_app.describe_photos import update_metadata
from serve_app.housekeeping import EVERY_S, tidy, tidy_imports
from serve_app.import_photos.close_import import close_import
from serve_app.mailer import Mailer, send_mail
from serve_app.maintained_versions import MaintainedVersions
from serve_app.outbound.client import OutboundClient
from serve_app.post_webhooks import WebhookPoster
from serve_app.repair_index import AuditParts
from serve_app.secrets import LinkMint, WebhookMint
from serve_app.tasks.create_embeddings import create_embeddings
from serve_app.tasks.delete_embeddings import delete_embeddings
from serve_app.tasks.delete_shop import delete_shop
from serve_app.tasks.import_photos import import_photos
from serve_app.tasks.served_version import ServedVersion
from serve_app.watched_work import WatchedWork

logger = logging.getLogger("serve_app")
Work = TypeVar("Work")
METADATA_CLAIM_SIZE = 500
FRESH_S = 2.0  # for so long bulk work leaves a single upload to its lane; an older one shows that it is full
WEBHOOKS_AT_ONCE = 8  # of so many shops: they wait for other servers, and for nothing here


class Indexer:
    """Keeps at most ``max_tasks`` pieces of each kind of work in flight, one floor for the shoppers' sake; of
    embedding so many for each replica of the ImageEmbedder.

    Nothing is remembered here: the rows' leases are the state, so a killed Indexer's successor goes on
    where the leases run out.
    """

    def __init__(
        self, context: ServingContext, image_embedder: DeploymentHandle, text_embedder: DeploymentHandle
    ) -> None:
        use_serve_log()
        self._context = context
        self._args = context.args.indexer
        self._database = Database.configured(connections=4)
        loop = asyncio.get_running_loop()
        workshops = Workshops(ServedVersion(context, image_embedder, text_embedder), self._database, loop)
        self._versions = MaintainedVersions(self._database, workshops.of, Workshop.probe)
        worker = start_upload_worker(self._args)
        self._uploads = UploadLane(self._args, self._database, self._versions, worker)
        self._media = _media()
        self._accounts = context.args.accounts
        self._mailer = _mailer(self._accounts.link_lifetime_h)
        self._webhooks = _webhook_poster(context, self._database)
        self._lookout = Lookout(self._database, self._args.poll_interval_s)
        self._embedders = ReplicaCount(self._embedder, lambda: self._lookout.signs.embedding)
        published, watched = Published(), WatchedWork(self._database)
        published.describe(DESCRIPTIONS)
        published.levels(lambda: of_work(watched.levels))
        published.levels(of_model(self._live_context))
        audit = _background_audit(context, self._database, published)
        self._loops = [
            self._loop(
                "embedding", self._claim_embedding, self._start_embedding, max_running=self._max_embedding
            ),
            self._loop("embedding", self._claim_uploads, self._uploads.embed, max_running=1),
            self._loop("deleting", self._claim_deleting, self._start_deleting),
            self._loop("jobs", self._claim_shop_deletion, self._start_shop_deletion),
            self._loop(
                "jobs", self._claim_import, self._work_on_import, max_running=context.args.imports.max_jobs
            ),
            self._loop("jobs", self._claim_closing_import, self._close_import, max_running=1),
            self._loop("metadata", self._claim_metadata, self._update_metadata),
            self._loop("floors", self._claim_floor, self._compute_floor, max_running=1),
            self._loop("mails", self._claim_mail, self._send_mail),
            self._loop("webhooks", self._claim_webhook, self._webhooks.post, max_running=WEBHOOKS_AT_ONCE),
            loop.create_task(self._lookout.follow()),
            *(loop.create_task(one) for one in (self._versions.follow(), self._versions.probe())),
            *(loop.create_task(one) for one in (self._embedders.follow(), self._uploads.follow())),
            loop.create_task(self._keep_house()),
            *(loop.create_task(one) for one in (audit.run(), watched.follow(), published.run())),
        ]

    def _loop(
        self,
        sign: str,
        claim: Callable[[Session], Work | None],
        carry_out: Callable[[Work], Awaitable[object]],
        max_running: int | Callable[[], int] | None = None,
    ) -> asyncio.Task[None]:
        """``sign``: the field of ``WorkSigns`` that says whether there may be such work."""
        most = max_running or self._args.max_tasks
        loop = WorkLoop(
            self._database,
            self._lookout,
            attrgetter(sign),
            claim,
            carry_out,
            max_running=most if callable(most) else lambda: most,
        )
        return asyncio.get_running_loop().create_task(loop.run())

    def check_health(self) -> None:
        """Serve replaces a replica whose loops have ended."""
        for loop in self._loops:
            if loop.done():
                raise RuntimeError("a loop of the Indexer has ended") from loop.exception()

    async def context(self) -> ServingContext:
        """What the service was started with."""
        return self._context

    async def live(self) -> ServedVersion:
        """What batch scripts need to run tasks beside the service. Raises DependencyUnavailable."""
        if self._versions.live is None:
            raise DependencyUnavailable("The live index version is not served. Try again in a moment.")
        return self._versions.live.served

    async def versions(self) -> tuple[int, list[int]]:
        """The index version of the main application's own model, and those that new photos are written to."""
        written = [one for one in (self._versions.live, self._versions.beside) if one is not None]
        return self._context.version_id, [one.parts.version_id for one in written]

    async def backlog(self) -> dict[str, Any]:
        """Counts of photos by state, and the age of the oldest one that waits."""
        return asdict(await self._database.run(work.backlog))

    def _live_context(self) -> ServingContext | None:
        return self._versions.live.served.context if self._versions.live is not None else None

    def _embedder(self) -> DeploymentHandle | None:
        return self._versions.live.served.image_embedder if self._versions.live is not None else None

    def _max_embedding(self) -> int:
        return self._args.max_tasks * self._embedders.value

    def _claim_embedding(self, session: Session) -> tuple[Workshop, Claim] | None:
        args, live = self._args, self._versions.live
        if live is None:
            return None
        claim = work.claim_embedding(
            session,
            limit=args.claim_size,
            lease_s=args.lease_s,
            max_attempts=args.max_attempts,
            few=args.few_photos,
            fresh_s=FRESH_S if self._uploads.is_open else 0.0,
        )
        return (live, claim) if claim.photos else None

    def _claim_uploads(self, session: Session) -> tuple[Workshop, Claim] | None:
        args, live = self._args, self._versions.live
        if live is None or not self._uploads.is_open:
            return None
        claim = work.claim_singles(
            session, few=args.few_photos, lease_s=args.lease_s, max_attempts=args.max_attempts
        )
        return (live, claim) if claim.photos else None

    def _claim_deleting(self, session: Session) -> Claim | None:
        claim = work.claim_deleting(session, limit=self._args.claim_size, lease_s=self._args.lease_s)
        return claim if claim.photos else None

    def _claim_shop_deletion(self, session: Session) -> ClaimedJob | None:
        args = self._args
        return jobs.claim(session, JobKind.DELETE_SHOP, lease_s=args.lease_s, max_attempts=args.max_attempts)

    def _claim_import(self, session: Session) -> ClaimedImport | None:
        return imports.claim(session, lease_s=self._args.lease_s, max_attempts=self._args.max_attempts)

    async def _work_on_import(self, job: ClaimedImport) -> None:
        task = import_photos.options(num_cpus=self._args.task_num_cpus)
        try:
            await task.remote(job, self._context)
        except RayError:  # the task died: nobody has to wait for its lease to run out
            give_back = partial(imports.give_back, job=job, delay_s=0.0, error=None, crashed=True)
            await self._database.run(give_back)
            raise

    def _claim_closing_import(self, session: Session) -> ClosingImport | None:
        return imports.claim_closing(session, self._args.lease_s)

    async def _close_import(self, closing: ClosingImport) -> bool:
        return await asyncio.to_thread(close_import, self._database, self._media, closing)

    def _claim_metadata(self, session: Session) -> tuple[Workshop, Claim] | None:
        live = self._versions.live
        if live is None:
            return None
        claim = work.claim_metadata(session, limit=METADATA_CLAIM_SIZE, lease_s=self._args.lease_s)
        return (live, claim) if claim.photos else None

    async def _update_metadata(self, claimed: tuple[Workshop, Claim]) -> int:
        """In a thread here: calls that wait, which need no worker and no share of a CPU."""
        live, claim = claimed
        building, answers = self._versions.building, self._versions.beside is not None
        beside = building.described(answers=answers) if building is not None else None
        return await asyncio.to_thread(update_metadata, live.parts, live.texts, claim, beside)

    def _claim_floor(self, session: Session) -> tuple[Workshop, ClaimedFloor] | None:
        search = self._context.args.search
        versions = (self._versions.live, self._versions.beside)
        for version in (one for one in versions if one is not None):
            claim = score_floors.claim(
                session,
                version.parts.model_key,
                quiet_s=search.floor_quiet_s,
                at_most_s=search.floor_at_most_s,
                lease_s=self._args.lease_s,
            )
            if claim is not None:
                return version, claim
        return None

    async def _compute_floor(self, claimed: tuple[Workshop, ClaimedFloor]) -> None:
        version, claim = claimed
        await version.floors.calibrate(claim)

    def _claim_mail(self, session: Session) -> ClaimedMail | None:
        return mails.claim(session, self._accounts.mail_lease_s, self._accounts.link_lifetime_h)

    async def _send_mail(self, mail: ClaimedMail) -> None:
        await send_mail(self._database, self._mailer, self._accounts, mail)

    def _claim_webhook(self, session: Session) -> ClaimedDelivery | None:
        return webhooks.claim(session, self._args.lease_s + self._context.args.fetch.timeout_s)

    async def _keep_house(self) -> None:
        while True:
            try:
                await self._database.run(tidy)
                keep_days = self._context.args.imports.keep_days
                await asyncio.to_thread(tidy_imports, self._database, self._media, keep_days)
            except AppError as error:
                logger.warning("nothing was tidied up, which is tried again in an hour: %s", error.message)
            await asyncio.sleep(EVERY_S)

    def _start_embedding(self, claimed: tuple[Workshop, Claim]) -> ObjectRef[int]:
        live, claim = claimed
        beside = self._versions.beside
        # Else Ray would fill half of this node before it takes the next one.
        task = create_embeddings.options(num_cpus=self._args.task_num_cpus, scheduling_strategy="SPREAD")
        return task.remote(claim, live.served, beside.served if beside is not None else None)

    def _start_deleting(self, claim: Claim) -> ObjectRef[int]:
        return delete_embeddings.options(num_cpus=self._args.task_num_cpus).remote(claim, self._context)

    def _start_shop_deletion(self, job: ClaimedJob) -> ObjectRef[bool]:
        return delete_shop.options(num_cpus=self._args.task_num_cpus).remote(job, self._context)


def _media() -> MediaStore:
    address = Settings().media_url
    if address is None:
        raise ConfigurationError("MEDIA_URL is not set. Set it to the media store's address.")
    return MediaStore(address)


def _background_audit(context: ServingContext, database: Database, published: Published) -> BackgroundAudit:
    address = Settings().chroma_url
    if address is None:
        raise ConfigurationError("CHROMA_URL is not set. Set it to the Chroma server's address.")
    parts = AuditParts(
        database,
        VectorStore(address, context.args.collection),
        context.args.audit,
        lease_s=context.args.indexer.lease_s,
        retry_delay_s=context.args.indexer.retry_delay_s,
    )
    damaged = published.count("fashion_damaged_collections", "Collections that an audit found wrong.")
    return BackgroundAudit(parts, damaged, context.args.collection.max_neighbors)


def _mailer(lifetime_h: float) -> Mailer:
    return Mailer(Settings(), LinkMint(_secret_key()), lifetime_h)


def _webhook_poster(context: ServingContext, database: Database) -> WebhookPoster:
    fetch = context.args.fetch
    return WebhookPoster(database, OutboundClient(fetch), WebhookMint(_secret_key()), fetch.retry_s)


def _secret_key() -> str:
    settings = Settings()
    if settings.secret_key is None:
        raise ConfigurationError("SECRET_KEY must be set.")
    return settings.secret_key.get_secret_value()
