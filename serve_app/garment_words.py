"""Names of garments as vectors: what a photo shows, in words, and what all garments have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from serve_app.ports import Vector

NAMES = (
    "dress", "gown", "jumpsuit", "dungarees", "t-shirt", "top", "tank top", "polo shirt", "shirt", "blouse",
    "sweater", "jumper", "cardigan", "hoodie", "sweatshirt", "vest", "waistcoat", "jacket", "blazer", "suit",
    "coat", "raincoat", "parka", "skirt", "trousers", "pants", "jeans", "leggings", "joggers", "shorts",
    "shoes", "sneakers", "trainers", "boots", "sandals", "heels", "slippers", "bag", "handbag", "backpack",
    "wallet", "hat", "cap", "beanie", "scarf", "shawl", "gloves", "tie", "belt", "socks", "tights",
    "underwear", "bra", "pyjamas", "dressing gown", "swimsuit", "bikini", "kimono", "sari", "jewellery",
    "watch", "sunglasses",
)  # fmt: skip


def _forms(name: str) -> set[str]:
    """The name in the singular and the plural, with some that do not exist."""
    singular = name if name.endswith("ss") else name.removesuffix("s")
    return {name, singular, f"{singular}s", f"{singular}es", f"{singular.removesuffix('f')}ves"}


_NAMED = re.compile(
    rf"\b({'|'.join(re.escape(form) for name in NAMES for form in sorted(_forms(name)))})\b", re.IGNORECASE
)


def names_a_garment(prompt: str) -> bool:
    """Whether one of ``NAMES`` stands in the prompt, in the singular or the plural."""
    return _NAMED.search(prompt) is not None


@dataclass(frozen=True, slots=True)
class Garments:
    """``vectors``: of ``NAMES``, (n, d) float32, unit length."""

    vectors: Vector
    logit_scale: float

    @property
    def neutral(self) -> Vector:
        """(d,): the mean, a garment of no particular kind."""
        mean: Vector = self.vectors.mean(axis=0)
        return mean

    def kind_of(self, photo: Vector) -> Vector:
        """(d,): the names weighted by softmax(logit_scale · cosine), as CLIP classifies without training."""
        logits = self.logit_scale * (self.vectors @ photo)
        weights = np.exp(logits - logits.max())
        kind: Vector = (weights / weights.sum()) @ self.vectors
        return kind
