"""Ray task: fill a partition of a version of the index; and what keeps several of them in flight."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from models.errors import AppError, ConfigurationError, DependencyUnavailable
from serve_app.context import ServingContext
from serve_app.fill_version import Filled, fill_photos
from serve_app.ports import BulkEmbedders
from serve_app.tasks.photo_encoder import TIMEOUT_S, PhotoEncoder, PhotoEncoderHandle
from serve_app.tasks.served_version import ServedVersion
from serve_app.tasks.worker import indexing_parts

logger = logging.getLogger("serve_app")
GPU_SHARE = 0.2
STOP_TIMEOUT_S = 5.0


@ray.remote(max_retries=0)
def fill_version(image_ids: list[int], served: ServedVersion, encoder: ActorHandle[Any] | None) -> Filled:
    """Without ``encoder``, by the version's online image embedder. The lease is the retry: Ray does none."""
    parts, embedders = indexing_parts(served.context), served.bulk_embedders()
    if encoder is None:
        return fill_photos(parts, embedders, image_ids)
    own = BulkEmbedders(PhotoEncoderHandle(encoder), embedders.text)
    return fill_photos(parts, own, image_ids, served.context.args.reindex.embed_batch)


class RayPartitions:
    """Partitions as tasks of their own, which take the actors in turns; they end with the driver."""

    def __init__(self, served: ServedVersion, encoders: Sequence[ActorHandle[Any]]) -> None:
        self._served = ray.put(served)
        self._encoders = cycle(encoders or [None])
        self._task = fill_version.options(num_cpus=served.context.args.indexer.task_num_cpus)
        self._refs: list[ObjectRef[Filled]] = []

    def start(self, image_ids: list[int]) -> None:
        self._refs.append(self._task.remote(image_ids, self._served, next(self._encoders)))

    def running(self) -> int:
        return len(self._refs)

    def finished(self, timeout_s: float) -> list[Filled | AppError]:
        done, self._refs = ray.wait(self._refs, timeout=timeout_s) if self._refs else ([], [])
        return [_result(reference) for reference in done]

    def give_up(self) -> None:
        """Interrupt what runs, so that it gives its photos back."""
        for reference in self._refs:
            ray.cancel(reference)
        if self._refs:
            ray.wait(self._refs, num_returns=len(self._refs), timeout=STOP_TIMEOUT_S)
        self._refs = []


@contextmanager
def running_partitions(served: ServedVersion, *, share: bool) -> Iterator[RayPartitions]:
    """``share``: the embedders of the version's application embed. Raises ConfigurationError where actors of
    their own do not start."""
    encoders = [] if share else _encoders(served.context)
    partitions = RayPartitions(served, encoders)
    try:
        yield partitions
    finally:
        partitions.give_up()
        for encoder in encoders:
            ray.kill(encoder)


def _encoders(context: ServingContext) -> list[ActorHandle[Any]]:
    args = context.args.reindex
    num_gpus = args.actor_num_gpus
    if num_gpus is None:
        num_gpus = GPU_SHARE if ray.cluster_resources().get("GPU", 0.0) > 0 else 0.0
    actor_class: Any = PhotoEncoder
    actor = actor_class.options(num_cpus=args.actor_num_cpus, num_gpus=num_gpus)
    encoders = [actor.remote(context) for _ in range(args.actors)]
    try:
        ray.get([encoder.load.remote() for encoder in encoders], timeout=TIMEOUT_S)
    except GetTimeoutError:
        raise ConfigurationError(
            f"The cluster has no room for {args.actors} actors with {args.actor_num_cpus:g} CPUs and "
            f"{num_gpus:g} GPUs each. Lower reindex.actors, actor_num_cpus or actor_num_gpus, or give "
            "--share."
        ) from None
    except RayError as error:
        cause = error.cause if isinstance(error, RayTaskError) else None
        if isinstance(cause, AppError):
            raise cause from None
        raise DependencyUnavailable("The actors that embed photos do not start; see Ray's logs.") from error
    return encoders


def _result(reference: ObjectRef[Filled]) -> Filled | AppError:
    try:
        found: Filled = ray.get(reference)
    except RayError as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, AppError):
            return cause
        logger.warning("a task of the reindex was lost: %r", error)
        return DependencyUnavailable("A worker of the reindex was lost.")
    return found
