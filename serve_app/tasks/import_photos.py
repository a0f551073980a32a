"""Ray tasks: one coordinates an import, others work on its batches of rows."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import ray
from ray import ObjectRef
from ray.exceptions import RayError, RayTaskError

from db.imports import ClaimedImport
from serve_app.context import ServingContext
from serve_app.import_photos.parts import Batch, BatchLost, BatchResult, ImportParts, Step
from serve_app.import_photos.run_import import run_import
from serve_app.import_photos.store_rows import check_rows, store_rows
from serve_app.photo_quota import PhotoQuota
from serve_app.photos import PhotoLimits
from serve_app.priority import STORING_NICE, give_way
from serve_app.tasks.worker import indexing_parts

logger = logging.getLogger("serve_app")


@ray.remote(max_retries=0)
def import_photos(job: ClaimedImport, context: ServingContext) -> bool:
    """One slice of a job. While it waits for its batches, it gives its share of a CPU back."""
    return run_import(_parts(context), job, _RayBatches(job, context))


@ray.remote(max_retries=0)
def import_batch(job: ClaimedImport, batch: Batch, context: ServingContext) -> BatchResult:
    """The rows have their outcome once this returns. The job's lease is the retry, so Ray does none."""
    work = check_rows if batch.step is Step.CHECK else store_rows
    return storing_thread().submit(work, _parts(context), job, batch).result()


@lru_cache(maxsize=1)
def storing_thread() -> ThreadPoolExecutor:
    """Of a lower priority than the process, which may embed later: photos that are stored come first."""
    return ThreadPoolExecutor(1, "storing", initializer=give_way, initargs=(STORING_NICE,))


class _RayBatches:
    """Batches as tasks of their own; those of a coordinator that dies are ended by Ray."""

    def __init__(self, job: ClaimedImport, context: ServingContext) -> None:
        self._job, self._context = job, context
        self._refs: list[ObjectRef[BatchResult]] = []

    def start(self, batch: Batch) -> None:
        task = import_batch.options(num_cpus=self._context.args.indexer.task_num_cpus)
        self._refs.append(task.remote(self._job, batch, self._context))

    def running(self) -> int:
        return len(self._refs)

    def finished(self, timeout_s: float) -> list[BatchResult]:
        done, self._refs = ray.wait(self._refs, timeout=timeout_s)
        try:
            return list(ray.get(done))
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            logger.warning("a batch of the import %d was lost: %r", self._job.job_id, error)
            raise BatchLost from error


@lru_cache(maxsize=4)
def _parts(context: ServingContext) -> ImportParts:
    indexing, args = indexing_parts(context), context.args
    return ImportParts(
        database=indexing.database,
        media=indexing.media,
        quota=PhotoQuota(args.limits.photos),
        photos=PhotoLimits(args.photos.max_bytes, args.photos.max_pixels),
        args=args.imports,
        fetch=args.fetch,
        indexer=args.indexer,
    )
