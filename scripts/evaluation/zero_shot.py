"""Zero-shot categories: how often the model is right, and what that means for auto_tag and for warnings.

The names on offer are all that a new service has, those that nobody draws ("Jeans", "Suits") included.
Templates and thresholds were chosen with 800 drawings of seed 101.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from configs.serving import TagArgs
from db.migrations.versions.m0002_taxonomies import CATEGORIES as VOCABULARY
from scripts.evaluation.gallery import Gallery
from scripts.garments.catalogue import CATEGORIES
from serve_app.encoder import FashionClipEncoder
from serve_app.zero_shot import TEMPLATES, confidences, texts_of

ARGS = TagArgs()
NAMES = list(VOCABULARY)
WRONG_EACH = 5
TARGETS = {
    f"zero-shot category, {len(NAMES)} names: drawings by lot": 0.90,
    f"zero-shot category, {len(NAMES)} names: demo catalogue": 0.90,
    "auto_tag: categories filled in that are right": 0.98,
    "auto_tag: categories filled in": 0.75,
    "right categories without a warning": 0.99,
    "wrong categories with a warning": 0.80,
}


@dataclass(frozen=True)
class Judged:
    """``shares``: (n, names) confidences. ``truth``: (n,) columns of the right names."""

    shares: NDArray[np.float64]
    truth: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.shares.argmax(axis=1) == self.truth)

    def warned(self, stated: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a photo is warned of, were ``stated`` its shop's category: (n,) columns."""
        confidence = np.take_along_axis(self.shares, stated[:, None], axis=1)[:, 0]
        surely_other = self.shares.max(axis=1) >= ARGS.contradicted_by
        return np.asarray((confidence < ARGS.contradicted_below) & surely_other)


def figures(
    encoder: FashionClipEncoder, logit_scale: float, seed: int, by_lot: Gallery, catalogue: Gallery
) -> dict[str, float]:
    """Shares in [0, 1]. ``catalogue``: the drawings of the demo shop."""
    drawings, products = (_judged(encoder, logit_scale, gallery) for gallery in (by_lot, catalogue))
    filled = drawings.shares.max(axis=1) >= ARGS.min_confidence
    rng = Random(f"wrong categories:{seed}")
    wrong = [
        drawings.warned(np.array([_another(rng, truth) for truth in drawings.truth.tolist()]))
        for _ in range(WRONG_EACH)
    ]
    values = (
        drawings.right.mean(),
        products.right.mean(),
        drawings.right[filled].mean(),
        filled.mean(),
        1 - drawings.warned(drawings.truth).mean(),
        np.mean(wrong),
    )
    return dict(zip(TARGETS, map(float, values), strict=True))


def _judged(encoder: FashionClipEncoder, logit_scale: float, gallery: Gallery) -> Judged:
    labels = [TEMPLATES["Category"].label(name, VOCABULARY[name]) for name in NAMES]
    texts = texts_of(labels)
    vectors = dict(zip(texts, encoder.encode_texts(texts), strict=True))
    truth = np.array([NAMES.index(CATEGORIES[look.kind]) for look in gallery.looks])
    return Judged(confidences(gallery.vectors, labels, vectors, logit_scale), truth)


def _another(rng: Random, truth: int) -> int:
    return rng.choice([column for column in range(len(NAMES)) if column != truth])
