"""Ray task: embed one claim of photos."""

from __future__ import annotations

import ray

from db.work import Claim
from serve_app.beside import Beside
from serve_app.indexing import embed_claim
from serve_app.tasks.served_version import ServedVersion
from serve_app.tasks.worker import indexing_parts


@ray.remote(max_retries=0)
def create_embeddings(claim: Claim, live: ServedVersion, building: ServedVersion | None) -> int:
    """The number of photos that became ``embedded``. The lease is the retry, so Ray does none."""
    beside = None
    if building is not None:
        beside = Beside(indexing_parts(building.context), building.bulk_embedders())
    return embed_claim(indexing_parts(live.context), live.bulk_embedders(), claim, beside)
