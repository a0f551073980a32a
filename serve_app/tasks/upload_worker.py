"""Ray actor: embeds single uploads, apart from bulk work."""

from __future__ import annotations

import ray

from db.work import Claim
from serve_app.beside import Beside
from serve_app.context import ServingContext
from serve_app.indexing import embed_claim
from serve_app.ports import BulkEmbedders
from serve_app.tasks.served_version import ServedVersion
from serve_app.tasks.worker import parts_of


@ray.remote(max_restarts=-1)
class UploadWorker:
    """A process that stays, so that no upload waits for one to start, and that does not give way.

    A photo that kills it takes nothing else with it: Ray starts it anew.
    """

    def __init__(self) -> None:
        self._embedders: dict[ServingContext, BulkEmbedders] = {}

    def ready(self, live: ServedVersion) -> bool:
        """Once this returns, nothing has to be set up for an upload any more but its shop's vocabularies."""
        self._embedders_of([live])
        parts_of(live.context)
        return True

    def embed(self, claim: Claim, live: ServedVersion, building: ServedVersion | None) -> int:
        """As ``create_embeddings``."""
        versions = [live] if building is None else [live, building]
        made = self._embedders_of(versions)
        beside = Beside(parts_of(building.context), made[building.context]) if building is not None else None
        return embed_claim(parts_of(live.context), made[live.context], claim, beside)

    def _embedders_of(self, versions: list[ServedVersion]) -> dict[ServingContext, BulkEmbedders]:
        """Kept from call to call: a new handle first has to learn where the replicas are."""
        known, contexts = self._embedders, {one.context: one for one in versions}
        self._embedders = {
            context: known[context] if context in known else one.prompt_embedders()
            for context, one in contexts.items()
        }
        return self._embedders
