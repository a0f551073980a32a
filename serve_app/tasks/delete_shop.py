"""Ray task: remove one shop with all that it has."""

from __future__ import annotations

import ray

from db.jobs import ClaimedJob
from serve_app.context import ServingContext
from serve_app.delete_shop import DeletionParts, carry_out
from serve_app.tasks.worker import indexing_parts


@ray.remote(max_retries=0)
def delete_shop(job: ClaimedJob, context: ServingContext) -> bool:
    """Whether it is done. The job's lease is the retry, so Ray does none."""
    parts = indexing_parts(context)
    return carry_out(DeletionParts(parts.database, parts.media, parts.vectors, parts.args), job)
