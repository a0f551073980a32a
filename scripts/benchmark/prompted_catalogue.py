"""A shop whose photos lie where prompts point, and the exact answers to prompts over it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from configs.serving import CollectionArgs, EmbedderArgs
from db import index_versions
from db.vectors import VectorStore
from scripts.benchmark.prompts import distinct_prompts
from scripts.benchmark.workbench import Shop, Workbench
from scripts.measurement.clustered import Array, Clustered
from scripts.measurement.stock import store
from serve_app.encoder import FashionClipEncoder

PHOTOS_PER_PROMPT = 5
SPREAD = 0.35
BATCH = 32
TOP = 10
# The same prompt in another batch is computed in another order, in bfloat16.
TOLERANCE = 4e-3
Embed = Callable[[Sequence[str]], Array]  # prompts to their vectors (n, d)


@dataclass(frozen=True)
class PromptedCatalogue:
    """``photos`` (n, d) of unit length; ``shop``'s photo with id ``ids[n]`` has vector n."""

    shop: Shop
    photos: Array
    ids: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Judged:
    """Of the answers that were looked at: recall of the exact first ten, those that are all right otherwise.

    Right is an answer of ten photos, best first, each with its own exact score.
    """

    answers: int
    recall: float
    right: float


def prompted_catalogue(
    bench: Workbench, photos: int, seed: int, embed: Embed | None = None
) -> PromptedCatalogue:
    """Stored directly in the service's database and index. ``embed``: by default the bare encoder."""
    embed = embed or partial(_embedded, bench)
    shop, random = bench.new_shop("asked"), np.random.default_rng(seed)
    prompts = list(islice(distinct_prompts(seed), -(-photos // PHOTOS_PER_PROMPT)))
    centres = np.repeat(embed(prompts), PHOTOS_PER_PROMPT, axis=0)[:photos]
    noise = random.normal(size=centres.shape) * SPREAD / np.sqrt(centres.shape[1])
    moved = centres + noise
    vectors = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)
    clusters = np.arange(photos) // PHOTOS_PER_PROMPT
    with bench.database.transaction() as session:
        version = index_versions.live(session)
    if version is None or version.id is None:
        raise AssertionError("the service runs")
    index = VectorStore(bench.running.chroma_url, CollectionArgs())
    place, none = (version.id, shop.id), np.empty((0, vectors.shape[1]), np.float32)
    stock = store(bench.database, index, place, version.model_key, Clustered(vectors, clusters, none, none))
    return PromptedCatalogue(shop, vectors, stock.ids)


def judged(
    bench: Workbench,
    catalogue: PromptedCatalogue,
    kept: Sequence[tuple[str, bytes]],
    embed: Embed | None = None,
) -> Judged:
    """The service's answers to prompts against the exact ones. ``embed`` as above."""
    embed = embed or partial(_embedded, bench)
    exact = embed([prompt for prompt, _ in kept]) @ catalogue.photos.T
    recalls, right = [], []
    for scores, (_, answer) in zip(exact, kept, strict=True):
        shown = json.loads(answer)["recommendations"]
        found = np.searchsorted(catalogue.ids, [one["ImageID"] for one in shown])
        told = np.array([one["score"] for one in shown])
        worst = np.sort(scores)[-TOP]
        recalls.append(float((scores[found] >= worst - TOLERANCE).sum()) / TOP)
        own = np.abs(told - scores[found]).max(initial=0) <= TOLERANCE
        right.append(bool(len(set(found)) == TOP and own and (np.diff(told) <= 0).all()))
    return Judged(len(kept), float(np.mean(recalls)), float(np.mean(right)))


def _embedded(bench: Workbench, prompts: Sequence[str]) -> Array:
    args: EmbedderArgs = bench.args.text_embedder
    encoder = FashionClipEncoder.load(
        Path(bench.checkpoint), towers=["text"], dtype=args.dtype, backend=args.backend
    )
    return np.concatenate(
        [encoder.encode_texts(prompts[n : n + BATCH]) for n in range(0, len(prompts), BATCH)]
    )
