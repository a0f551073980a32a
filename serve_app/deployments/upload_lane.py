"""The lane of single uploads: a worker of their own, so that they do not wait for bulk work."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from ray.exceptions import RayError
from sqlalchemy.orm import Session

from configs.serving import IndexerArgs
from db import work
from db.session import Database
from db.work import Claim
from serve_app.deployments.workshop import Workshop
from serve_app.maintained_versions import MaintainedVersions
from serve_app.tasks.upload_worker import UploadWorker

logger = logging.getLogger("serve_app")
PROBE_INTERVAL_S = 0.5
LONGEST_REST_S = 0.25  # longer work was not work, but waiting


def start_upload_worker(args: IndexerArgs) -> Any:
    """It ends with the process that calls this."""
    actor_class: Any = UploadWorker
    return actor_class.options(num_cpus=args.task_num_cpus).remote()


class UploadLane:
    """``is_open``: the worker runs. While it does not, bulk work takes the uploads."""

    def __init__(
        self, args: IndexerArgs, database: Database, versions: MaintainedVersions[Workshop], worker: Any
    ) -> None:
        """``worker``: a handle of an ``UploadWorker``."""
        self._args, self._database, self._versions, self._worker = args, database, versions, worker
        self.is_open = False

    async def follow(self) -> None:
        """For ever: opens the lane once the worker runs, after its death too, which Ray puts right."""
        told = ""
        while True:
            live = self._versions.live
            if live is not None and not self.is_open:
                try:
                    self.is_open = await self._worker.ready.remote(live.served)
                    told = ""
                except RayError as error:
                    if told != repr(error):
                        logger.warning("single uploads are embedded with bulk work", exc_info=error)
                    told = repr(error)
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def embed(self, claimed: tuple[Workshop, Claim]) -> None:
        """Then it rests for as long as that took, so that bulk work keeps half of the time."""
        (live, claim), beside = claimed, self._versions.beside
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            await self._worker.embed.remote(claim, live.served, beside.served if beside is not None else None)
        except RayError:  # the worker died: nobody has to wait for its lease to run out
            self.is_open = False
            await self._database.run(partial(self._give_back, claim=claim))
            raise
        await asyncio.sleep(min(loop.time() - started, LONGEST_REST_S))

    def _give_back(self, session: Session, claim: Claim) -> None:
        ids, delay_s = [photo.image_id for photo in claim.photos], self._args.retry_delay_s
        work.release(session, claim.token, ids, delay_s=delay_s, error=None, count_attempt=True)
