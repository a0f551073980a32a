"""Whether prompts for the same garment, in many words, are found to be one theme."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np

from scripts.garments.held_out import held_out_prompt
from scripts.garments.vocabulary import COLOURS, KINDS
from serve_app.encoder import FashionClipEncoder
from serve_app.themes import YARDSTICK, themes, threshold

THEMES, PROMPTS_EACH = 25, 12
PRECISION, RECALL = "pairs of a theme that belong together", "pairs that belong together in one theme"
TARGETS = {PRECISION: 0.90, RECALL: 0.90}


def figures(encoder: FashionClipEncoder, seed: int) -> dict[str, float]:
    """Pairwise precision and recall over prompts for THEMES kinds and colours, PROMPTS_EACH of each."""
    rng = Random(f"themes:{seed}")
    asked = rng.sample(list(product(KINDS, COLOURS)), THEMES) * PROMPTS_EACH
    vectors = encoder.encode_texts([held_out_prompt(rng, kind, colour) for kind, colour in asked])
    found = np.zeros(len(asked), int)
    least = threshold(encoder.encode_texts(list(YARDSTICK)))
    for number, rows in enumerate(themes(vectors, least)):
        found[rows] = number
    wanted = np.unique([" ".join(one) for one in asked], return_inverse=True)[1]
    pairs = np.triu_indices(len(asked), 1)
    together, right = ((one[:, None] == one)[pairs] for one in (found, wanted))
    both = float((together & right).sum())
    return {PRECISION: both / max(float(together.sum()), 1.0), RECALL: both / float(right.sum())}
