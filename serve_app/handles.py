"""The ports over Ray Serve handles: time-outs, and Ray's errors as AppErrors."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, TypeVar, cast

import numpy as np
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from configs.serving import CallArgs
from models.errors import AppError, DependencyTimeout, DependencyUnavailable, TooBusy
from models.search import Hit, PhotoVersions, TextEmbedding, VersionRef
from serve_app.batches import Batches
from serve_app.embed_texts import TEXTS_AT_ONCE, embed_texts
from serve_app.index_queries import IndexQueries
from serve_app.ports import Pixels, Vector

logger = logging.getLogger("serve_app")
_MAKING_LOOP = threading.Lock()
T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")
BY_REFERENCE_BYTES = 512 * 1024
TEXT_EMBEDDER, SEARCH_INDEX = "The text embedder", "The search index"


class TextEmbedderHandle:
    """``model_key``: the model that must answer. Prompts that come together share calls."""

    def __init__(
        self, handle: DeploymentHandle, timeout_s: float, model_key: str, calls: CallArgs | None = None
    ) -> None:
        self._handle, self._timeout_s, self._model_key = handle, timeout_s, model_key
        calls = calls or CallArgs()
        self.batches = _shared(TEXT_EMBEDDER, self._embed, calls, calls.text_calls)

    async def embed(self, prompt: str) -> TextEmbedding:
        async with _translated(TEXT_EMBEDDER, self._timeout_s):
            return await self.batches(prompt)

    async def ping(self) -> None:
        await self.embed("ready")

    async def _embed(self, prompts: list[str]) -> list[TextEmbedding]:
        async with _translated(TEXT_EMBEDDER, self._timeout_s):
            vectors, truncated = await self._handle.embed_prompts.remote(prompts, self._model_key)
        return [TextEmbedding(*pair) for pair in zip(vectors, truncated, strict=True)]


def _shared(
    part: str, call: Callable[[list[Q]], Awaitable[Sequence[A | AppError]]], args: CallArgs, at_once: int
) -> Batches[Q, A]:
    return Batches(call, args.per_call, at_once=at_once, most_waiting=args.waiting, part=part)


class ImageEmbedderHandle:
    """``model_key`` as above."""

    def __init__(self, handle: DeploymentHandle, timeout_s: float, model_key: str) -> None:
        self._handle, self._timeout_s, self._model_key = handle, timeout_s, model_key

    async def embed(self, pixels: Pixels) -> Vector:
        async with _translated("The image embedder", self._timeout_s):
            return cast(Vector, await self._handle.embed_photos.remote(pixels, self._model_key))


class _BulkEmbedder(ImageEmbedderHandle):
    """Many photos go through Ray's object store, which the replica reads in place; few cost more there."""

    def __init__(
        self, handle: DeploymentHandle, timeout_s: float, model_key: str, by_reference_bytes: int
    ) -> None:
        super().__init__(handle, timeout_s, model_key)
        self._by_reference_bytes = by_reference_bytes

    async def embed(self, pixels: Pixels) -> Vector:
        by_reference = pixels.nbytes >= self._by_reference_bytes
        async with _translated("The image embedder", self._timeout_s):
            handle = self._handle.options(_by_reference=True) if by_reference else self._handle
            return cast(Vector, await handle.embed_in_bulk.remote(pixels, self._model_key))


class VectorIndexHandle:
    """One version of the index. Queries that come together share calls, and those of one shop Chroma's.

    Up to ``calls.direct_hits`` photos are asked of Chroma itself: reading such an answer costs less than a
    call of the SearchIndex.
    """

    def __init__(
        self,
        handle: DeploymentHandle,
        direct: IndexQueries,
        timeout_s: float,
        ref: VersionRef,
        calls: CallArgs,
    ) -> None:
        self._handle, self._direct, self._timeout_s, self._ref = handle, direct, timeout_s, ref
        self._direct_hits = calls.direct_hits
        self.batches = _shared(SEARCH_INDEX, self._query, calls, calls.search_calls)

    async def query(self, shop_id: int, vector: Vector, k: int) -> list[Hit]:
        async with _translated(SEARCH_INDEX, self._timeout_s):
            if k <= self._direct_hits:
                return await self._direct(self._ref.version_id, shop_id, vector, k)
            return await self.batches((shop_id, vector, k))

    async def _query(self, asked: list[tuple[int, Vector, int]]) -> list[list[Hit] | AppError]:
        shop_ids, vectors, counts = zip(*asked, strict=True)
        async with _translated(SEARCH_INDEX, self._timeout_s):
            found = await self._handle.query.remote(self._ref, shop_ids, np.stack(vectors), counts)
        return cast(list[list[Hit] | AppError], found)

    async def nearest(self, shop_id: int, vector: Vector, photos: PhotoVersions, k: int) -> list[Hit]:
        async with _translated(SEARCH_INDEX, self._timeout_s):
            found = await self._handle.nearest.remote(self._ref, shop_id, vector, photos, k)
            return cast(list[Hit], found)

    async def vectors(self, shop_id: int, photos: PhotoVersions) -> Vector:
        async with _translated(SEARCH_INDEX, self._timeout_s):
            return cast(Vector, await self._handle.vectors.remote(self._ref, shop_id, photos))

    async def ping(self) -> None:
        async with _translated(SEARCH_INDEX, self._timeout_s):
            await asyncio.gather(self._handle.ping.remote(), self._direct.ping())


class BulkImageEmbedderHandle:
    """For Ray tasks, which run in ordinary threads. ``gives_way``: to shoppers' photos, in the embedder.

    ``by_reference_bytes``: from which on photos that give way go through Ray's object store.
    """

    def __init__(
        self,
        handle: DeploymentHandle,
        timeout_s: float,
        model_key: str,
        *,
        gives_way: bool = True,
        by_reference_bytes: int = BY_REFERENCE_BYTES,
    ) -> None:
        self._embedder = (
            _BulkEmbedder(handle, timeout_s, model_key, by_reference_bytes)
            if gives_way
            else ImageEmbedderHandle(handle, timeout_s, model_key)
        )

    def embed(self, pixels: Pixels) -> Vector:
        return run_async(self._embedder.embed(pixels))


class BulkTextEmbedderHandle:
    """The same for texts, those of all its threads in turn. ``loop``: the running one on which this process
    calls the handle, if any does."""

    def __init__(
        self,
        handle: DeploymentHandle,
        timeout_s: float,
        model_key: str,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._embedder = TextEmbedderHandle(handle, timeout_s, model_key)
        self._loop = loop
        self._turns = asyncio.Semaphore(TEXTS_AT_ONCE)

    def embed(self, texts: Sequence[str]) -> Vector:
        return run_async(embed_texts(self._embedder, texts, self._turns), self._loop)


def run_async(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Run ``work`` from an ordinary thread, on ``loop`` or one that lives as long as the process.

    Serve's throughput mode routes requests on the caller's loop: without one that keeps running,
    ``DeploymentResponse.result()`` would wait for ever, and a handle that is called on two fails on both.
    """
    return asyncio.run_coroutine_threadsafe(work, loop or _background_loop()).result()


def _background_loop() -> asyncio.AbstractEventLoop:
    with _MAKING_LOOP:  # a task's threads ask at the same moment, and lru_cache would let each make one
        return _made_loop()


@lru_cache(maxsize=1)
def _made_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True, name="serve-handles").start()
    return loop


@asynccontextmanager
async def _translated(part: str, timeout_s: float) -> AsyncIterator[None]:
    with _as_app_errors(part):
        async with asyncio.timeout(timeout_s):
            yield


@contextmanager
def _as_app_errors(part: str) -> Iterator[None]:
    """Ray's exceptions carry remote tracebacks in their text; none of it goes further than the log."""
    try:
        yield
    except TimeoutError:
        raise DependencyTimeout(f"{part} did not answer in time. Try again.") from None
    except BackPressureError:
        raise TooBusy(f"{part} has a full queue. Try again in a moment.") from None
    except (RayError, RayServeException) as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, AppError):
            raise cause from None
        logger.error("%s failed", part, exc_info=error)
        raise DependencyUnavailable(f"{part} does not answer. Try again in a moment.") from None
