"""Whether one model finds photos by their texts worse than another: recall@k, MRR@10 and what a loss means.

A text is asked for and its photo has to come back. All photos that have the same text are answers to it. An
equal score of another photo counts against: a model to which everything is alike finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from serve_app.ports import Vector

DEPTH = 10
SIGNIFICANCE = 0.05
MEASURES = ("recall@1", "recall@10", "MRR@10")
Outcomes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over ``queries`` texts."""

    queries: int
    recall_at_1: float
    recall_at_10: float
    mrr_at_10: float


@dataclass(frozen=True, slots=True)
class Regression:
    """A figure that fell: by ``loss`` ± ``error`` (the standard error of the paired differences)."""

    measure: str
    before: float
    after: float
    loss: float
    error: float


def outcomes(texts: Vector, photos: Vector, groups: NDArray[np.int64], asked: NDArray[np.int64]) -> Outcomes:
    """(q, 3): recall@1, recall@10 and the reciprocal rank (0 beyond 10) of each asked photo's text.

    ``photos`` (n, d) and ``groups`` (n,): the gallery, with one number for all that have one text;
    ``texts`` (q, d): those of the photos at the places ``asked`` (q,).
    """
    scores = texts @ photos.T
    own = groups[asked][:, None] == groups[None, :]
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    ranks = 1 + ((scores >= best) & ~own).sum(axis=1)
    reciprocal = np.where(ranks <= DEPTH, 1.0 / ranks, 0.0)
    return np.stack([ranks <= 1, ranks <= DEPTH, reciprocal], axis=1).astype(np.float64)


def figures(results: Outcomes) -> Figures | None:
    """Their means; None of nothing."""
    return Figures(len(results), *results.mean(axis=0).tolist()) if len(results) else None


def regressions(
    before: Outcomes, after: Outcomes, max_regression: float, comparisons: int
) -> list[Regression]:
    """The figures that fell by more than ``max_regression``, and by more than chance explains.

    The same texts were asked of both, so their paired differences are tested, two-sided at 5 %, divided by
    the number of ``comparisons`` that are made beside each other (Bonferroni).
    """
    if len(before) < 2:
        return []
    z = NormalDist().inv_cdf(1 - SIGNIFICANCE / (2 * max(1, comparisons)))
    lost = before - after
    losses, errors = lost.mean(axis=0), lost.std(axis=0, ddof=1) / sqrt(len(lost))
    return [
        Regression(name, float(before[:, i].mean()), float(after[:, i].mean()), float(loss), float(error))
        for i, (name, loss, error) in enumerate(zip(MEASURES, losses, errors, strict=True))
        if loss > max_regression and loss > z * error
    ]


def overlap(before: list[int], after: list[int]) -> float | None:
    """The share of the larger of two answers that the other has too; None where both are empty."""
    longest = max(len(before), len(after))
    return len(set(before) & set(after)) / longest if longest else None
