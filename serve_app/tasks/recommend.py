"""Ray task: answer many prompts of one shop, for batch jobs (mailings, evaluations)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ray

from db import shown_photos
from serve_app.search import SPARE
from serve_app.tasks.served_version import ServedVersion
from serve_app.tasks.worker import indexing_parts


@dataclass(frozen=True, slots=True)
class BatchHit:
    """One recommended photo; ``score`` is the cosine similarity."""

    image_id: int
    sku: str
    name: str
    score: float


@ray.remote(max_retries=0)
def recommend(shop_id: int, prompts: Sequence[str], count: int, live: ServedVersion) -> list[list[BatchHit]]:
    """For each prompt at most ``count`` photos, best first. Prompts share batches of the text embedder."""
    vectors = live.bulk_embedders().text.embed(prompts)
    parts = indexing_parts(live.context)
    found = parts.vectors.query(parts.version_id, shop_id, vectors, count + SPARE)
    with parts.database.transaction() as session:
        rows = shown_photos.by_id(
            session.connection(), shop_id, {hit.image_id for hits in found for hit in hits}
        )
    return [
        [
            BatchHit(hit.image_id, rows[hit.image_id].sku, rows[hit.image_id].name, hit.score)
            for hit in hits
            if hit.image_id in rows
        ][:count]
        for hits in found
    ]
