"""What `diversity` costs: photos that no longer answer the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scripts.evaluation.gallery import Gallery
from scripts.evaluation.metrics import top
from scripts.evaluation.near_duplicates import THRESHOLD
from scripts.evaluation.prompts import Prompt, relevance
from serve_app.arrange import POOL_PLACES
from serve_app.encoder import FashionClipEncoder
from serve_app.ranking import diversify, fold

DIVERSITY = 0.3
TARGETS = {f"precision@5 kind+colour, diversity {DIVERSITY}": 0.90}


def figures(encoder: FashionClipEncoder, gallery: Gallery, family: Sequence[Prompt]) -> dict[str, float]:
    """precision@5 over the diversified answers, and how alike their photos are without and with diversity."""
    scores = encoder.encode_texts([prompt.text for prompt in family]) @ gallery.vectors.T
    relevant = relevance(family, gallery.looks)
    pools = top(scores, POOL_PLACES)
    plain, diverse = (
        [_first_five(pool, row, gallery, diversity) for pool, row in zip(pools, scores, strict=True)]
        for diversity in (0.0, DIVERSITY)
    )
    precision = np.mean([row[five].mean() for row, five in zip(relevant, diverse, strict=True)])
    return {
        next(iter(TARGETS)): float(precision),
        "mean cosine in the top 5": _likeness(gallery, plain),
        f"mean cosine in the top 5, diversity {DIVERSITY}": _likeness(gallery, diverse),
    }


def _first_five(pool: np.ndarray, scores: np.ndarray, gallery: Gallery, diversity: float) -> np.ndarray:
    """(5,) columns of the gallery."""
    folding = fold(gallery.vectors[pool], THRESHOLD, POOL_PLACES)
    kept = pool[folding.kept]
    first: np.ndarray = kept[diversify(scores[kept].astype(np.float64), folding.cosines, diversity)[:5]]
    return first


def _likeness(gallery: Gallery, answers: list[np.ndarray]) -> float:
    vectors = gallery.vectors[np.stack(answers)]
    cosines = np.einsum("aid,ajd->aij", vectors, vectors)
    i, j = np.triu_indices(vectors.shape[1], 1)
    return float(cosines[:, i, j].mean())
