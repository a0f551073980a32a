"""The background worker: claims work from PostgreSQL and has it carried out. One replica."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

from ray import ObjectRef
from ray.serve.handle import DeploymentHandle
from sqlalchemy.orm import Session

from configs.settings import Settings
from db import jobs, work
from db.jobs import ClaimedJob
from db.session import Database
from db.vectors import VectorStore
from db.work import Claim
from models.errors import ConfigurationError
from models.job import JobKind
from serve_app.context import ServingContext
from serve_app.deployments.work_loop import WorkLoop
from serve_app.indexing import IndexParts, update_metadata
from serve_app.tasks.create_embeddings import create_embeddings
from serve_app.tasks.delete_embeddings import delete_embeddings
from serve_app.tasks.delete_shop import delete_shop

Work = TypeVar("Work")
METADATA_CLAIM_SIZE = 500


class Indexer:
    """Keeps at most ``max_tasks`` pieces of each kind of work in flight.

    Nothing is remembered here: the rows' leases are the state, so a killed Indexer's successor goes on
    where the leases run out.
    """

    def __init__(self, context: ServingContext, image_embedder: DeploymentHandle) -> None:
        self._context = context
        self._args = context.args.indexer
        self._image_embedder = image_embedder
        self._database = Database.configured(connections=4)
        self._parts = _index_parts(context, self._database)
        self._loops = [
            self._loop(self._claim_embedding, self._start_embedding),
            self._loop(self._claim_deleting, self._start_deleting),
            self._loop(self._claim_shop_deletion, self._start_shop_deletion),
            self._loop(self._claim_metadata, self._update_metadata),
        ]

    def _loop(
        self, claim: Callable[[Session], Work | None], carry_out: Callable[[Work], Awaitable[object]]
    ) -> asyncio.Task[None]:
        args = self._args
        loop = WorkLoop(
            self._database,
            claim,
            carry_out,
            max_running=args.max_tasks,
            poll_interval_s=args.poll_interval_s,
        )
        return asyncio.get_running_loop().create_task(loop.run())

    def check_health(self) -> None:
        """Serve replaces a replica whose loops have ended."""
        for loop in self._loops:
            if loop.done():
                raise RuntimeError("a loop of the Indexer has ended") from loop.exception()

    async def context(self) -> ServingContext:
        """What batch scripts need to run tasks beside the service."""
        return self._context

    async def backlog(self) -> dict[str, Any]:
        """Counts of photos by state, and the age of the oldest one that waits."""
        return asdict(await self._database.run(work.backlog))

    def _claim_embedding(self, session: Session) -> Claim | None:
        args = self._args
        claim = work.claim_embedding(
            session, limit=args.claim_size, lease_s=args.lease_s, max_attempts=args.max_attempts
        )
        return claim if claim.photos else None

    def _claim_deleting(self, session: Session) -> Claim | None:
        claim = work.claim_deleting(session, limit=self._args.claim_size, lease_s=self._args.lease_s)
        return claim if claim.photos else None

    def _claim_shop_deletion(self, session: Session) -> ClaimedJob | None:
        args = self._args
        return jobs.claim(session, JobKind.DELETE_SHOP, lease_s=args.lease_s, max_attempts=args.max_attempts)

    def _claim_metadata(self, session: Session) -> Claim | None:
        claim = work.claim_metadata(session, limit=METADATA_CLAIM_SIZE, lease_s=self._args.lease_s)
        return claim if claim.photos else None

    async def _update_metadata(self, claim: Claim) -> int:
        """In a thread here: two short calls that wait, which need no worker and no share of a CPU."""
        return await asyncio.to_thread(update_metadata, self._parts, claim)

    def _start_embedding(self, claim: Claim) -> ObjectRef[int]:
        task = create_embeddings.options(num_cpus=self._args.task_num_cpus)
        return task.remote(claim, self._image_embedder, self._context)

    def _start_deleting(self, claim: Claim) -> ObjectRef[int]:
        return delete_embeddings.options(num_cpus=self._args.task_num_cpus).remote(claim, self._context)

    def _start_shop_deletion(self, job: ClaimedJob) -> ObjectRef[bool]:
        return delete_shop.options(num_cpus=self._args.task_num_cpus).remote(job, self._context)


def _index_parts(context: ServingContext, database: Database) -> IndexParts:
    address = Settings().chroma_url
    if address is None:
        raise ConfigurationError("CHROMA_URL is not set. Set it to the Chroma server's address.")
    vectors = VectorStore(address, context.args.collection)
    return IndexParts(database, vectors, context.version_id, context.args.indexer)
