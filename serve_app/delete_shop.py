"""Remove a shop with all that it has: the request, the work in the background, the report.

The request closes the shop in one transaction; from that commit on nothing of it can be read or written.
Every step of the work may be repeated. What lies outside PostgreSQL is counted before the first step and the
totals kept in the job; rows are counted in the transaction that removes them. So the report is exact,
whatever died in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from configs.serving import IndexerArgs
from db import index_versions, jobs, shop_deletion
from db.jobs import ClaimedJob
from db.media import MediaStore, shop_prefix
from db.open_shops import closed
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError, NotFound
from models.job import Job, JobKind
from models.own_shop_api import DeletionReport
from models.shop import ShopStatus
from serve_app.services import Services

logger = logging.getLogger("serve_app")
BUSY_PAUSE_S = 0.5
ALL = (
    *("photos", "files", "bytes", "vectors", "collections"),
    *("events", "prompts", "imports", "keys", "links", "mails", "deliveries"),
)
Counts = dict[str, int]


def request_deletion(session: Session, shop_id: int) -> Job:
    """Close any shop and queue its removal; asked again, the same job. Raises NotFound."""
    shop = shop_deletion.locked(session, shop_id)
    if shop is None:
        raise NotFound(f"There is no shop {shop_id}.")
    return shop_deletion.begin(session, shop)


async def delete_own_shop(services: Services, shop_id: int) -> Job:
    """As its owner asks for it. Raises NotAuthenticated where the shop is closed already."""

    def close(session: Session) -> Job:
        shop = shop_deletion.locked(session, shop_id)
        if shop is None or shop.status is not ShopStatus.ACTIVE:
            raise closed()
        return shop_deletion.begin(session, shop)

    await services.prompt_log.flush()  # so that the report counts what was asked here before
    job = await services.database.run(close)
    services.callers.forget(shop_id)
    return job


async def deletion_report(services: Services, job_id: int) -> DeletionReport:
    """Raises NotFound."""
    job = await services.database.read(lambda session: jobs.get(session, JobKind.DELETE_SHOP, job_id))
    if job is None:
        raise NotFound("There is no such deletion.")
    return DeletionReport(
        job_id=job_id,
        status=job.status,
        requested_at=job.created_at,
        finished_at=job.finished_at,
        removed=job.counts.get("removed", {}),
    )


@dataclass(frozen=True)
class DeletionParts:
    """What the work needs."""

    database: Database
    media: MediaStore
    vectors: VectorStore
    args: IndexerArgs


class _LeaseLost(Exception):
    """Another worker has the job by now."""


def carry_out(parts: DeletionParts, job: ClaimedJob) -> bool:
    """True once the shop is gone. False where it waits for photos under work, or a part does not answer."""
    try:
        with parts.database.transaction() as session:
            idle = shop_deletion.take_leases(session, job.shop_id)
        if not idle:
            _release(parts, job, None, BUSY_PAUSE_S)
            return False
        _Deletion(parts, job).run()
        return True
    except AppError as error:
        logger.warning("the deletion of shop %d goes back to the queue: %s", job.shop_id, error.message)
        _release(parts, job, error.message, parts.args.retry_delay_s)
    except _LeaseLost:
        logger.warning("the deletion of shop %d is another worker's by now", job.shop_id)
    return False


class _Deletion:
    """One attempt. ``found`` is what there was outside PostgreSQL, ``removed`` what is gone for certain."""

    def __init__(self, parts: DeletionParts, job: ClaimedJob) -> None:
        self._parts, self._job = parts, job
        self._found: Counts = dict(job.counts.get("found", {}))
        self._removed: Counts = dict.fromkeys(ALL, 0) | job.counts.get("removed", {})
        self._renewed_at = time.monotonic()

    def run(self) -> None:
        if not self._found:
            self._found = self._count()
            self._removed = dict.fromkeys(ALL, 0)
            self._save()
        self._drop_collections()
        self._remove_files()
        self._remove_rows(shop_deletion.delete_imports)
        self._remove_rows(shop_deletion.delete_events)
        self._remove_rows(shop_deletion.delete_prompts)
        self._remove_rows(shop_deletion.delete_photos)
        with self._parts.database.transaction() as session:
            self._add(shop_deletion.delete_shop(session, self._job.shop_id))
            if not jobs.finish(session, self._job, self._counts()):
                raise _LeaseLost

    def _count(self) -> Counts:
        parts, shop_id = self._parts, self._job.shop_id
        files = size = 0
        for folder in parts.media.folders(shop_prefix(shop_id)):
            own_files, own_size = parts.media.usage(folder)
            files, size = files + own_files, size + own_size
            self._keep()
        collections = sum(parts.vectors.exists(version, shop_id) for version in self._versions())
        return {"files": files, "bytes": size, "collections": collections}

    def _drop_collections(self) -> None:
        for version in self._versions():
            self._parts.vectors.drop(version, self._job.shop_id)
            self._keep()
        self._removed["collections"] = self._found["collections"]
        self._save()

    def _remove_files(self) -> None:
        prefix = shop_prefix(self._job.shop_id)
        for folder in self._parts.media.folders(prefix):
            self._parts.media.delete_tree(folder)
            self._keep()
        self._parts.media.delete_tree(prefix)
        self._removed |= {name: self._found[name] for name in ("files", "bytes")}
        self._save()

    def _remove_rows(self, batch: Callable[[Session, int], Counts]) -> None:
        while True:
            with self._parts.database.transaction() as session:
                removed = batch(session, self._job.shop_id)
                self._add(removed)
                self._save_in(session)
            if not removed:
                return

    def _versions(self) -> list[int]:
        with self._parts.database.transaction() as session:
            return index_versions.ids(session)

    def _add(self, removed: Counts) -> None:
        for name, count in removed.items():
            self._removed[name] += count

    def _counts(self) -> dict[str, Any]:
        return {"found": self._found, "removed": self._removed} if self._found else {}

    def _keep(self) -> None:
        """Prolong the lease in time."""
        if time.monotonic() - self._renewed_at > self._parts.args.lease_s / 3:
            self._save()

    def _save(self) -> None:
        with self._parts.database.transaction() as session:
            self._save_in(session)

    def _save_in(self, session: Session) -> None:
        if not jobs.save(session, self._job, self._counts(), self._parts.args.lease_s):
            raise _LeaseLost
        self._renewed_at = time.monotonic()


def _release(parts: DeletionParts, job: ClaimedJob, error: str | None, delay_s: float) -> None:
    with parts.database.transaction() as session:
        jobs.release(session, job, delay_s=delay_s, error=error)
