"""Whether the search index finds an entry by its own vector: a graph can lose the way to one that it has.

Small graphs do: once entries have all the links that they may, new ones push links out, and where these were
the only ones to an entry, no query gets there. Writing the entry again links it anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from db.vectors import VectorRecord, VectorStore
from models.search import Hit

EQUAL_SCORE = 1 - 2e-6  # another photo with the very same vector is as good
ATTEMPTS = 3


def is_found(image_id: int, hits: Sequence[Hit]) -> bool:
    """``hits``: the nearest of the entry's own vector."""
    return any(hit.image_id == image_id or hit.score >= EQUAL_SCORE for hit in hits)


def upsert_found(
    store: VectorStore, place: tuple[int, int], records: Sequence[VectorRecord], k: int
) -> list[list[Hit]]:
    """Upsert and look for the records, twice more those that are not found.

    ``place``: version and shop. Returns the ``k`` nearest of each record's vector.
    """
    hits: dict[int, list[Hit]] = {}
    lost = list(records)
    for _ in range(ATTEMPTS):
        store.upsert(*place, lost)
        found = store.query(*place, np.stack([one.vector for one in lost]), k)
        hits |= {one.image_id: own for one, own in zip(lost, found, strict=True)}
        lost = [one for one in lost if not is_found(one.image_id, hits[one.image_id])]
        if not lost:
            break
    return [hits[one.image_id] for one in records]
