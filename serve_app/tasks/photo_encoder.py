"""Ray actor: the image tower of a model for bulk work, beside the embedders that answer requests."""

from __future__ import annotations

from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from models.errors import AppError, DependencyTimeout, DependencyUnavailable
from serve_app.context import ServingContext
from serve_app.ports import Pixels, Vector
from serve_app.priority import EMBEDDING_NICE, give_way
from serve_app.served_model import locate

# The first call loads the model.
TIMEOUT_S = 300.0


@ray.remote(max_restarts=-1)
class PhotoEncoder:
    """Loads the model at its first call, so that what is wrong with it arrives as an error of that call."""

    def __init__(self, context: ServingContext) -> None:
        self._context = context
        self._encoder: Any = None

    def load(self) -> str:
        """The device. Raises ConfigurationError where the checkpoint is not on this machine."""
        if self._encoder is None:
            from serve_app.encoder import FashionClipEncoder

            give_way(EMBEDDING_NICE)
            args, model = self._context.args, self._context.model
            found = locate(model, hub_timeout_s=args.model.hub_timeout_s)
            tower = args.image_embedder
            self._encoder = FashionClipEncoder.load(
                found.directory,
                towers=["image"],
                device=tower.device,
                dtype=tower.dtype,
                threads=tower.threads,
                backend=tower.backend,
            )
        return str(self._encoder.device)

    def embed(self, pixels: Pixels) -> Vector:
        self.load()
        found: Vector = self._encoder.encode_images(pixels)
        return found


class PhotoEncoderHandle:
    """The port over such an actor, for a task's thread."""

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self._actor = actor

    def embed(self, pixels: Pixels) -> Vector:
        try:
            found: Vector = ray.get(self._actor.embed.remote(pixels), timeout=TIMEOUT_S)
        except ray.exceptions.GetTimeoutError:
            raise DependencyTimeout("The actor that embeds photos did not answer in time.") from None
        except RayError as error:
            if isinstance(error, RayTaskError) and isinstance(error.cause, AppError):
                raise error.cause from None
            raise DependencyUnavailable("The actor that embeds photos was lost.") from error
        return found
