"""An index version with the replicas of its model, as tasks receive it."""

from __future__ import annotations

from dataclasses import dataclass

from ray.serve.handle import DeploymentHandle

from serve_app.context import ServingContext
from serve_app.handles import BulkImageEmbedderHandle, BulkTextEmbedderHandle
from serve_app.ports import BulkEmbedders


@dataclass(frozen=True)
class ServedVersion:
    context: ServingContext
    image_embedder: DeploymentHandle
    text_embedder: DeploymentHandle

    def bulk_embedders(self) -> BulkEmbedders:
        """To be called from a task's thread."""
        timeout_s, model_key = self.context.args.timeouts.embed_s, self.context.model.key
        return BulkEmbedders(
            BulkImageEmbedderHandle(self.image_embedder, timeout_s, model_key),
            BulkTextEmbedderHandle(self.text_embedder, timeout_s, model_key=model_key),
        )
