"""Near-duplicates and diversity, over arrays in the order of a ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COSINE_DECIMALS = 6
VALUE_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Folding:
    """The beginning of a ranking without its near-duplicates; places are positions in the ranking, from 0.

    ``kept``: places that stay, best first. ``copies``: for each of them the places that were folded into it,
    best first. ``cosines``: (kept, kept) float64, of the kept ones with each other.
    """

    kept: list[int]
    copies: list[list[int]]
    cosines: NDArray[np.float64]

    @property
    def walked(self) -> int:
        """How many places of the ranking were kept or folded."""
        return len(self.kept) + sum(map(len, self.copies))


def fold(vectors: NDArray[np.float32], threshold: float, most: int) -> Folding:
    """Walk a ranking from its best place until ``most`` are kept or it ends.

    A place whose cosine similarity, rounded to 6 decimals, with a kept one is ``threshold`` or more is folded
    into the best-ranked such one. Only kept places attract others: a copy of a copy that is no copy of a kept
    place is kept. ``vectors``: (n, d) of unit length, in the order of the ranking.
    """
    kept: list[int] = []
    copies: list[list[int]] = []
    chosen = np.empty((min(most, len(vectors)), vectors.shape[1]))
    cosines = np.eye(len(chosen))
    for place, vector in enumerate(vectors.astype(np.float64)):
        size = len(kept)
        if size == most:
            break
        near = np.round(chosen[:size] @ vector, COSINE_DECIMALS)
        alike = np.flatnonzero(near >= threshold)
        if alike.size:
            copies[int(alike[0])].append(place)
            continue
        chosen[size], cosines[size, :size], cosines[:size, size] = vector, near, near
        kept.append(place)
        copies.append([])
    return Folding(kept, copies, cosines[: len(kept), : len(kept)])


def diversify(scores: NDArray[np.float64], cosines: NDArray[np.float64], diversity: float) -> list[int]:
    """The order, as positions in ``scores``, by maximal marginal relevance.

    The next one is always the one with the largest (1 - diversity) · score - diversity · m, m being its
    largest cosine similarity with those before it; of equals (to 9 decimals) the one with the smaller
    position. The first is that with the best score. With diversity 0 the order stays as it is.
    Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and
    producing summaries", SIGIR 1998; their lambda is 1 - diversity.

    ``scores``: (n,), falling. ``cosines``: (n, n).
    """
    if not len(scores):
        return []
    order = [0]
    relevance, nearest = (1.0 - diversity) * scores, cosines[0].copy()
    for _ in range(len(scores) - 1):
        value = np.round(relevance - diversity * nearest, VALUE_DECIMALS)
        value[order] = -np.inf
        order.append(int(value.argmax()))
        np.maximum(nearest, cosines[order[-1]], out=nearest)
    return order
