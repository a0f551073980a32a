"""The gate before a flip: does the new version find each shop's own photos as well as the live one does?

Photos are compared by the vectors of their pixels, exactly: neither the index's approximation nor a shop's
text weight, by which an item contains its own text, hides what a model does not see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.serving import ReindexArgs
from db import gate_samples
from db.gate_samples import GallerySample
from db.session import Database
from db.vectors import VectorStore
from serve_app.ports import BulkTextEmbedder
from serve_app.regression import DEPTH, Figures, Outcomes, Regression, figures, outcomes, overlap, regressions

MAX_GALLERY = 2_000
MAX_QUERIES = 200
MAX_PROMPTS = 50
# With fewer, a photo more or less decides; with fewer than so many, the shop alone proves nothing.
LEAST_QUERIES = 5
JUDGED_QUERIES = 50
SEED = 5
# Words that shops' systems write where a name is missing.
EMPTY_WORDS = frozenset({"sku", "img", "image", "photo", "picture", "product", "item", "untitled", "dsc"})


# Shop, outcomes of both versions, overlaps.
Compared = tuple[int, tuple[Outcomes, Outcomes], list[float]]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two versions, with the text tower of its model."""

    version_id: int
    model_key: str
    texts: BulkTextEmbedder


@dataclass(frozen=True, slots=True)
class GateParts:
    """What the gate reads from."""

    database: Database
    vectors: VectorStore
    args: ReindexArgs


@dataclass(frozen=True)
class ShopComparison:
    """One shop; None where it has too little to ask by. ``overlap``: of its ``prompts`` recent prompts."""

    shop_id: int
    before: Figures | None
    after: Figures | None
    prompts: int
    overlap: float | None
    regressions: list[Regression]


@dataclass(frozen=True)
class GateReport:
    """What was found. ``reasons`` say, for the operator, why the flip is stopped; none: it may go on."""

    before: Figures | None
    after: Figures | None
    overlap: float | None
    shops: list[ShopComparison]
    reasons: list[str]

    @property
    def passed(self) -> bool:
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """For a job's counts and for machines."""
        return asdict(self) | {"passed": self.passed}


def compare_versions(
    parts: GateParts, live: Side, new: Side, on_progress: Callable[[int, int], None]
) -> GateReport:
    """Ask both versions for every shop's photos. Raises what database, index and text towers raise.

    ``on_progress`` is told the number of shops that are done, and of all.
    """
    with parts.database.transaction() as session:
        shop_ids = gate_samples.shops(session)
    gate = _Gate(parts, live, new)
    compared: list[Compared] = []
    for place, shop_id in enumerate(shop_ids, start=1):
        compared.append((shop_id, gate.recall(shop_id), gate.overlaps(shop_id)))
        on_progress(place, len(shop_ids))
    return _report(parts.args, compared)


class _Gate:
    def __init__(self, parts: GateParts, live: Side, new: Side) -> None:
        self._parts, self._sides = parts, (live, new)

    def recall(self, shop_id: int) -> tuple[Outcomes, Outcomes]:
        """Of both versions, for the same texts."""
        keys = (self._sides[0].model_key, self._sides[1].model_key)
        with self._parts.database.transaction() as session:
            sample = gate_samples.gallery(session, shop_id, keys, MAX_GALLERY, SEED)
        groups = _groups(sample.texts)
        asked = _asked(sample, groups)
        if len(asked) < LEAST_QUERIES:
            return np.empty((0, 3)), np.empty((0, 3))
        texts = [sample.texts[place] for place in asked]
        before, after = (
            outcomes(side.texts.embed(texts), photos, groups, asked)
            for side, photos in zip(self._sides, (sample.before, sample.after), strict=True)
        )
        return before, after

    def overlaps(self, shop_id: int) -> list[float]:
        """Of each recent prompt's ten best."""
        with self._parts.database.transaction() as session:
            prompts = gate_samples.recent_prompts(session, shop_id, MAX_PROMPTS)
        if not prompts:
            return []
        before, after = (self._best(side, shop_id, prompts) for side in self._sides)
        shares = [overlap(*pair) for pair in zip(before, after, strict=True)]
        return [share for share in shares if share is not None]

    def _best(self, side: Side, shop_id: int, prompts: list[str]) -> list[list[int]]:
        vectors = side.texts.embed(prompts)
        found = self._parts.vectors.query(side.version_id, shop_id, vectors, DEPTH)
        return [[hit.image_id for hit in hits] for hits in found]


def _report(args: ReindexArgs, compared: list[Compared]) -> GateReport:
    judged = sum(len(result[0]) >= JUDGED_QUERIES for _, result, _ in compared)
    shops = [_of_shop(args, one, 3 * judged) for one in compared]
    before = np.concatenate([np.empty((0, 3)), *(result[0] for _, result, _ in compared)])
    after = np.concatenate([np.empty((0, 3)), *(result[1] for _, result, _ in compared)])
    shares = [share for _, _, overlaps in compared for share in overlaps]
    shared = _mean(shares)
    reasons = [_sentence("All shops", one) for one in regressions(before, after, args.max_regression, 1)]
    for shop in shops:
        reasons += [_sentence(f"Shop {shop.shop_id}", one) for one in shop.regressions]
    if shared is not None and shared < args.min_overlap:
        reasons.append(
            f"Prompts keep {shared:.3f} of their ten best; `reindex.min_overlap` is {args.min_overlap:g}."
        )
    return GateReport(figures(before), figures(after), shared, shops, reasons)


def _of_shop(args: ReindexArgs, compared: Compared, comparisons: int) -> ShopComparison:
    shop_id, (before, after), overlaps = compared
    enough = len(before) >= JUDGED_QUERIES
    lost = regressions(before, after, args.max_regression, comparisons) if enough else []
    return ShopComparison(shop_id, figures(before), figures(after), len(overlaps), _mean(overlaps), lost)


def _sentence(who: str, lost: Regression) -> str:
    return f"{who}: {lost.measure} falls from {lost.before:.3f} to {lost.after:.3f} (± {lost.error:.3f})."


def _asked(sample: GallerySample, groups: Places) -> Places:
    """Places of the photos whose texts are asked for: one of each text that says something."""
    _, first = np.unique(groups, return_index=True)
    telling = [place for place in sorted(first.tolist()) if says_something(sample.texts[place])]
    return np.array(telling[:MAX_QUERIES], np.int64)


def _groups(texts: Iterable[str]) -> Places:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text.casefold(), len(numbers)) for text in texts], np.int64)


def says_something(text: str) -> bool:
    """Whether it has a word of three letters that is no placeholder."""
    words = re.findall(r"[^\W\d_]{3,}", text.casefold())
    return any(word not in EMPTY_WORDS for word in words)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
