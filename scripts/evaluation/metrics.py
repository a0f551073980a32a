"""Ranking metrics over a matrix of similarities; rows are prompts, columns pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]  # (prompts, pictures)


def top(scores: Scores, k: int) -> NDArray[np.int64]:
    """(prompts, k) columns with the highest scores, best first."""
    k = min(k, scores.shape[1])
    found = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def precision_at(scores: Scores, relevant: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """(prompts,) share of relevant pictures among the first `k`."""
    hits: NDArray[np.float64] = np.take_along_axis(relevant, top(scores, k), axis=1).mean(axis=1)
    return hits


def own_ranks(scores: Scores) -> NDArray[np.int64]:
    """(n,) rank from 1 of picture i for prompt i; a tie counts against it."""
    own = np.diag(scores)[:, None]
    ranks: NDArray[np.int64] = (scores >= own).sum(axis=1)
    return ranks


def recall_at(ranks: NDArray[np.int64], k: int) -> float:
    """Share of prompts whose own picture is among the first `k`."""
    return float((ranks <= k).mean())


def mean_reciprocal_rank(ranks: NDArray[np.int64], k: int) -> float:
    """Mean of 1/rank, 0 beyond rank `k`."""
    return float(np.where(ranks <= k, 1.0 / ranks, 0.0).mean())
