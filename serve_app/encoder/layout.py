"""Where the tokens of a batch stand: without padding for products, with it for attention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """``rows``: the tokens of n prompts one after the other, each cut behind the one that is pooled.

    ``positions``: of each row in its prompt. ``pooled``: n rows. ``padded_pooled``: the same among the
    n * longest places with padding. ``spread``: for each of those its row, 0 where it is padding; ``kept``:
    the places that are none. Both are None where all prompts have one length.
    """

    rows: Places
    positions: Places
    count: int
    longest: int
    pooled: Places
    padded_pooled: Places
    spread: Places | None
    kept: Places | None


def lay_out(ids: Places, end_id: int | None) -> Layout:
    """``ids``: (n, longest). ``end_id``: as in ``TextWeights``.

    Attention is causal: nothing behind the pooled token reaches it, neither padding nor a second end.
    """
    ends = (ids if end_id is None else ids == end_id).argmax(axis=1)
    count, longest = len(ids), int(ends.max()) + 1
    padded_pooled = np.arange(count) * longest + ends
    columns = np.arange(longest)
    if int(ends.min()) + 1 == longest:
        rows, positions = ids[:, :longest].reshape(-1), np.tile(columns, count)
        return Layout(rows, positions, count, longest, padded_pooled, padded_pooled, None, None)
    kept = np.flatnonzero(columns <= ends[:, None])
    spread = np.zeros(count * longest, np.int64)
    spread[kept] = np.arange(len(kept))
    rows = ids[:, :longest].reshape(-1)[kept]
    return Layout(rows, kept % longest, count, longest, spread[padded_pooled], padded_pooled, spread, kept)
