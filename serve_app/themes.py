"""Texts that mean the same, found by their vectors.

Average-link agglomeration: every text begins as a theme of its own, and the two themes with the highest mean
similarity are joined while that is at least a threshold,

    s(A, B) = 1/(|A| |B|) · Σ a·b   over a in A, b in B,   joined while max s(A, B) ≥ t.

Cosines of different models cannot be compared, so t is taken from the model itself: halfway between what it
says of the same thing in other words and of things that have one of two words in common,

    t = (median cos("red dress", "dress in red") + median cos("red dress", "blue dress" or "red shoes")) / 2
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from serve_app.ports import Vector

_COLOURS = ("red", "blue", "black", "green")
_KINDS = ("dress", "shoes", "coat", "bag", "hat", "scarf")
_PAIRS = tuple(product(_COLOURS, _KINDS))
YARDSTICK = (
    *(f"{colour} {kind}" for colour, kind in _PAIRS),
    *(f"{kind} in {colour}" for colour, kind in _PAIRS),
)


def threshold(yardstick: Vector) -> float:
    """t, from the vectors of YARDSTICK: (48, d), unit length."""
    plain, reworded = np.split(yardstick.astype(np.float64), 2)
    colours, kinds = np.array(_PAIRS).T
    one_in_common = (colours[:, None] == colours) ^ (kinds[:, None] == kinds)
    same = np.median(np.sum(plain * reworded, axis=1))
    return float(same + np.median((plain @ plain.T)[one_in_common])) / 2


def themes(vectors: Vector, least: float) -> list[list[int]]:
    """Groups of the rows of ``vectors``: (n, d), unit length. Each is in row order, and so are the groups.

    Deterministic: of equally similar pairs the first is joined. About n³ steps: n is to be some hundreds.
    """
    members = [[row] for row in range(len(vectors))]
    similar: NDArray[np.float64] = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(similar, -np.inf)
    while members:
        first, second = sorted(int(one) for one in np.unravel_index(np.argmax(similar), similar.shape))
        if similar[first, second] < least:
            break
        sizes = len(members[first]), len(members[second])
        joined = (sizes[0] * similar[first] + sizes[1] * similar[second]) / sum(sizes)
        similar[first, :] = similar[:, first] = joined
        similar[first, first] = similar[second, :] = similar[:, second] = -np.inf
        members[first] += members[second]
        members[second] = []
    return sorted(sorted(group) for group in members if group)
