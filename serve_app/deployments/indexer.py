"""The background worker: claims photos from PostgreSQL and runs Ray tasks on them. One replica."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from ray import ObjectRef
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle
from sqlalchemy.orm import Session

from db import work
from db.session import Database
from db.work import Claim
from models.errors import AppError
from serve_app.context import ServingContext
from serve_app.tasks.create_embeddings import create_embeddings
from serve_app.tasks.delete_embeddings import delete_embeddings

logger = logging.getLogger("serve_app")
ERROR_PAUSE_S = 2.0


class Indexer:
    """Keeps at most ``max_tasks`` tasks of each kind in flight.

    Nothing is remembered here: the rows' leases are the state, so a killed Indexer's successor goes on
    where the leases run out.
    """

    def __init__(self, context: ServingContext, image_embedder: DeploymentHandle) -> None:
        self._context = context
        self._args = context.args.indexer
        self._image_embedder = image_embedder
        self._database = Database.configured(connections=2)
        args = self._args
        embedding = partial(
            work.claim_embedding, limit=args.claim_size, lease_s=args.lease_s, max_attempts=args.max_attempts
        )
        deleting = partial(work.claim_deleting, limit=args.claim_size, lease_s=args.lease_s)
        self._loops = [
            asyncio.get_running_loop().create_task(self._run(embedding, self._start_embedding)),
            asyncio.get_running_loop().create_task(self._run(deleting, self._start_deleting)),
        ]

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

    def _start_embedding(self, claim: Claim) -> ObjectRef[int]:
        task = create_embeddings.options(num_cpus=self._args.task_num_cpus)
        return task.remote(claim, self._image_embedder, self._context)

    def _start_deleting(self, claim: Claim) -> ObjectRef[int]:
        return delete_embeddings.options(num_cpus=self._args.task_num_cpus).remote(claim, self._context)

    async def _run(
        self, claim_work: Callable[[Session], Claim], start: Callable[[Claim], ObjectRef[int]]
    ) -> None:
        running: set[asyncio.Task[None]] = set()
        while True:
            claim = await self._claim(claim_work) if len(running) < self._args.max_tasks else None
            if claim is not None:
                running.add(asyncio.create_task(self._finish(start(claim))))
            elif running:
                _, running = await asyncio.wait(
                    running, timeout=self._args.poll_interval_s, return_when=asyncio.FIRST_COMPLETED
                )
            else:
                await asyncio.sleep(self._args.poll_interval_s)

    async def _claim(self, claim_work: Callable[[Session], Claim]) -> Claim | None:
        try:
            claim = await self._database.run(claim_work)
        except AppError as error:
            logger.warning("no work can be claimed: %s", error.message)
            await asyncio.sleep(ERROR_PAUSE_S)
            return None
        return claim if claim.photos else None

    async def _finish(self, task: ObjectRef[int]) -> None:
        """A task that fails loses nothing: its photos' leases run out and they are claimed again."""
        try:
            await task
        except RayError as error:
            logger.error("a background task failed; its photos are claimed again later", exc_info=error)
