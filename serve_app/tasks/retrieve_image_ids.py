"""Ray task: the nearest photos of many vectors at once, for batch jobs."""

from __future__ import annotations

import ray

from models.search import Hit
from serve_app.context import ServingContext
from serve_app.ports import Vector
from serve_app.tasks.worker import indexing_parts


@ray.remote(max_retries=0)
def retrieve_image_ids(shop_id: int, vectors: Vector, k: int, context: ServingContext) -> list[list[Hit]]:
    """``vectors``: (n, d) float32 → for each the ``k`` nearest of that shop, best first."""
    parts = indexing_parts(context)
    return parts.vectors.query(context.version_id, shop_id, vectors, k)
