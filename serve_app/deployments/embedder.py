"""One tower of the model behind dynamic batching; deployed twice, as TextEmbedder and ImageEmbedder."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from ray.serve.handle import DeploymentHandle

from configs.serving import EmbedderArgs, EmbedderUserConfig
from models.errors import DependencyUnavailable
from models.search import TextEmbedding
from serve_app.batches import Batches
from serve_app.deployments.metrics import BATCHED, Published
from serve_app.measures import SIZES, Spread
from serve_app.ports import Pixels, Vector
from serve_app.priority import EMBEDDING_NICE, give_way
from serve_app.served_model import ServedModel, locate

if TYPE_CHECKING:
    from serve_app.encoder import Tower


class Embedder:
    """Requests that arrive while the model is busy form the next batch, so an idle replica adds no delay.

    Bulk work has threads of its own, so that no shopper's photo waits behind its batches.

    A call says which model it is for: while a cluster changes its model, replicas of both have one name.

    Inference runs in a thread: user code shares the replica's event loop. ``other_tower`` is not called: it
    makes that one part of the same application.
    """

    def __init__(
        self,
        tower: Tower,
        model: ServedModel,
        args: EmbedderArgs,
        hub_timeout_s: float,
        other_tower: DeploymentHandle | None = None,
    ) -> None:
        self._other_tower, self._model = other_tower, model
        self._encoder = self._load(tower, args, hub_timeout_s)
        self._encoder.warm_up()
        self._max_photos = EmbedderUserConfig().max_batch_size
        self._prompts = Batches(self._embed_prompts, self._max_photos)
        self._photos = Batches(self._embed_groups, self._max_photos)
        self._bulk_sizes = Spread(SIZES)
        published = Published()
        if tower == "text":
            published.watch("prompts", self._prompts)
        else:
            published.watch("photos", self._photos)
            published.add_up(BATCHED, self._bulk_sizes, part="bulk_photos")
        self._publishing = asyncio.get_running_loop().create_task(published.run())
        self._bulk = ThreadPoolExecutor(
            self._encoder.bulk_calls, "bulk", initializer=give_way, initargs=(EMBEDDING_NICE,)
        )

    def _load(self, tower: Tower, args: EmbedderArgs, hub_timeout_s: float) -> Any:
        # Here, so that building the application does not load torch: that takes some 3 s.
        from serve_app.encoder import FashionClipEncoder

        checkpoint = locate(self._model, hub_timeout_s=hub_timeout_s)
        return FashionClipEncoder.load(
            checkpoint.directory,
            towers=(tower,),
            device=args.device,
            dtype=args.dtype,
            threads=args.threads,
            backend=args.backend,
        )

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Apply ``user_config`` without a restart. Raises ValidationError, and the old values stay."""
        tuning = EmbedderUserConfig.model_validate(user_config)
        self._max_photos = tuning.max_batch_size
        for queue in (self._prompts, self._photos):
            queue.max_size, queue.wait_s = tuning.max_batch_size, tuning.batch_wait_timeout_s

    async def embed_prompts(self, prompts: list[str], model_key: str) -> tuple[Vector, list[bool]]:
        """(n, d) float32, and which of the n ≥ 1 prompts the model's token limit cut.

        Raises DependencyUnavailable where another model is meant.
        """
        self._require(model_key)
        found = await asyncio.gather(*map(self._prompts, prompts))
        return np.stack([one.vector for one in found]), [one.truncated for one in found]

    async def embed_photos(self, pixels: Pixels, model_key: str) -> Vector:
        """(n, S, S, 3) uint8 → (n, d) float32. Raises as ``embed_prompts`` does."""
        self._require(model_key)
        return await self._photos(pixels)

    async def _embed_prompts(self, prompts: list[str]) -> list[TextEmbedding]:
        return await asyncio.to_thread(self._encoder.embed_prompts, prompts)

    async def _embed_groups(self, groups: list[Pixels]) -> list[Vector]:
        return await asyncio.to_thread(self._encode_groups, groups)

    async def embed_in_bulk(self, pixels: Pixels, model_key: str) -> Vector:
        """As ``embed_photos``, in a thread that gives way."""
        self._require(model_key)
        self._bulk_sizes.add(len(pixels))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._bulk, self._encoder.encode_images, pixels)

    def _require(self, model_key: str) -> None:
        if model_key != self._model.key:
            raise DependencyUnavailable("The model is being changed. Try again in a moment.")

    def _encode_groups(self, groups: list[Pixels]) -> list[Vector]:
        filled = [group for group in groups if len(group)]
        if not filled:
            return [np.empty((0, self._encoder.dimension), np.float32) for _ in groups]
        pixels = filled[0] if len(filled) == 1 else np.concatenate(filled)
        step = self._max_photos
        parts = [self._encoder.encode_images(pixels[i : i + step]) for i in range(0, len(pixels), step)]
        vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
        ends = np.cumsum([len(group) for group in groups])[:-1]
        return np.split(vectors, ends)
