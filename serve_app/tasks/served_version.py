"""An index version with the replicas of its model, as deployments, tasks and batch scripts use it."""

from __future__ import annotations

from dataclasses import dataclass

from ray.serve.handle import DeploymentHandle

from serve_app.context import ServingContext
from serve_app.handles import (
    BulkImageEmbedderHandle,
    BulkTextEmbedderHandle,
    ImageEmbedderHandle,
    TextEmbedderHandle,
)
from serve_app.ports import BulkEmbedders


@dataclass(frozen=True)
class ServedVersion:
    context: ServingContext
    image_embedder: DeploymentHandle
    text_embedder: DeploymentHandle

    def texts(self) -> TextEmbedderHandle:
        """For requests."""
        return TextEmbedderHandle(self.text_embedder, *self._call, self.context.args.calls)

    def photos(self) -> ImageEmbedderHandle:
        """For requests."""
        return ImageEmbedderHandle(self.image_embedder, *self._call)

    def bulk_embedders(self) -> BulkEmbedders:
        """To be called from a task's thread."""
        return self._embedders(gives_way=True)

    def prompt_embedders(self) -> BulkEmbedders:
        """The same, with the priority of shoppers' requests."""
        return self._embedders(gives_way=False)

    def _embedders(self, *, gives_way: bool) -> BulkEmbedders:
        return BulkEmbedders(
            BulkImageEmbedderHandle(self.image_embedder, *self._call, gives_way=gives_way),
            BulkTextEmbedderHandle(self.text_embedder, *self._call),
        )

    @property
    def _call(self) -> tuple[float, str]:
        return self.context.args.timeouts.embed_s, self.context.model.key
