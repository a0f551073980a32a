"""Ray task: remove one claim of photos: vectors, files, rows."""

from __future__ import annotations

import ray

from db.work import Claim
from serve_app.context import ServingContext
from serve_app.indexing import delete_claim
from serve_app.tasks.worker import indexing_parts


@ray.remote(max_retries=0)
def delete_embeddings(claim: Claim, context: ServingContext) -> int:
    """The number of rows removed."""
    return delete_claim(indexing_parts(context), claim)
