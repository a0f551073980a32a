"""Ray task: embed one claim of photos."""

from __future__ import annotations

import ray
from ray.serve.handle import DeploymentHandle

from db.work import Claim
from serve_app.context import ServingContext
from serve_app.handles import BulkImageEmbedderHandle, BulkTextEmbedderHandle
from serve_app.indexing import embed_claim
from serve_app.ports import BulkEmbedders
from serve_app.tasks.worker import indexing_parts


@ray.remote(max_retries=0)
def create_embeddings(
    claim: Claim, image_embedder: DeploymentHandle, text_embedder: DeploymentHandle, context: ServingContext
) -> int:
    """The number of photos that became ``embedded``. The lease is the retry, so Ray does none."""
    timeout_s = context.args.timeouts.embed_s
    embedders = BulkEmbedders(
        BulkImageEmbedderHandle(image_embedder, timeout_s), BulkTextEmbedderHandle(text_embedder, timeout_s)
    )
    return embed_claim(indexing_parts(context), embedders, claim)
