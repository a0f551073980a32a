"""The search index alone, by size of catalogue: recall@10 against exact search, latency, queries a second.

Collections of 1,000, 10,000 and 100,000 photos in a Chroma server by itself, with the parameters of the
config's ``collection``; no PostgreSQL, no Serve. The vectors imitate a fashion model's: clusters, products
with several photos each, prompts in a cone of their own (``scripts/measurement/clustered.py``). Queries are
half photos and half prompts, asked as the service asks: for 18 photos, of which ten are shown; filtered, for
400, of which the first ten that match are. Then in batches of 8 and 32 in one call, as queries of one shop
share one. The sizes take turns. What filters cost with PostgreSQL is ``filters``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from configs.serving import CollectionArgs
from db.vectors import VectorRecord, VectorStore
from models.search import Hit
from scripts.benchmark.mixed import quantiles_ms
from scripts.console import log
from scripts.measurement.clustered import Array, clustered
from scripts.measurement.report import Figure
from serve_app.local_services import LocalChroma
from serve_app.search import LOOKED_AT, SPARE

DIMENSION = 512
VERSION = 1
TOP = 10
BATCHES = 8, 32
MATCHING = 0.1  # of the photos, by the filter
WARM_UPS = 20
# Issue 6, "Must show".
LEAST_RECALL = 0.98
SMALL, LARGE, MOST_RATIO = 10_000, 100_000, 2.0
TOLERANCE = 1e-6
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Options:
    """``queries``: of each kind in each round."""

    sizes: Sequence[int]
    queries: int
    rounds: int
    collection: CollectionArgs


@dataclass
class Found:
    """Of one size. ``p50_ms``: of each round; times of single queries; queries a second by batch size."""

    build_s: float
    p50_ms: list[float] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    filtered_s: list[float] = field(default_factory=list)
    recalls: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[int, list[float]] = field(default_factory=dict)


def measure(directory: Path, options: Options) -> tuple[list[Figure], Any]:
    """The figures, and all that they come from. Prints a table."""
    chroma = LocalChroma(directory)
    try:
        index = VectorStore(chroma.start(), options.collection)
        vectors = clustered(max(options.sizes), options.queries * options.rounds, DIMENSION, seed=7)
        mask = np.random.default_rng(8).random(max(options.sizes)) < MATCHING
        found = {size: Found(_build(index, vectors.photos[:size])) for size in sorted(options.sizes)}
        for number in range(options.rounds):
            own = slice(number * options.queries, (number + 1) * options.queries)
            asked = {"photos": vectors.photo_queries[own], "prompts": vectors.prompts[own]}
            for size, one in found.items():
                _round(index, vectors.photos[:size], mask[:size], asked, one)
            log.print(f"round {number + 1} of {options.rounds}")
    finally:
        chroma.stop()
    _print(found)
    details = {"collection": options.collection.model_dump(), "sizes": _details(found)}
    return _figures(found), details


def _build(index: VectorStore, photos: Array) -> float:
    """Seconds until the collection answers. Photo n gets the id n, its shop is called as its size."""
    size, started = len(photos), time.perf_counter()
    records = [VectorRecord(number, vector, "0" * 64) for number, vector in enumerate(photos)]
    index.upsert(VERSION, size, records)
    index.query(VERSION, size, photos[:1], TOP)
    seconds = time.perf_counter() - started
    log.print(f"{size:,} photos in Chroma after {seconds:.0f} s")
    return seconds


def _round(index: VectorStore, photos: Array, mask: Mask, asked: Mapping[str, Array], found: Found) -> None:
    size, k = len(photos), TOP + SPARE
    for query in asked["photos"][:WARM_UPS]:
        index.query(VERSION, size, query[None], k)
    times_s: list[float] = []
    for kind, queries in asked.items():
        recalls = found.recalls.setdefault(kind, [])
        recalls += _ask(index, photos, queries, k, times_s)
    found.times_s += times_s
    found.p50_ms.append(1000 * statistics.median(times_s))
    recalls = found.recalls.setdefault("filtered", [])
    recalls += _ask(index, photos, asked["prompts"], LOOKED_AT, found.filtered_s, mask)
    everyone = np.concatenate(list(asked.values()))
    for batch in BATCHES:
        found.rates.setdefault(batch, []).append(_batched(index, size, everyone, batch))


def _ask(
    index: VectorStore, photos: Array, queries: Array, k: int, times_s: list[float], mask: Mask | None = None
) -> list[float]:
    """Recall@10 of each query, asked by itself; ``times_s`` gets its seconds."""
    recalls = []
    for query in queries:
        began = time.perf_counter()
        (hits,) = index.query(VERSION, len(photos), query[None], k)
        times_s.append(time.perf_counter() - began)
        recalls.append(recall_of(hits, photos @ query, mask))
    return recalls


def recall_of(hits: Sequence[Hit], scores: Array, mask: Mask | None = None) -> float:
    """The share of the exact ``TOP`` among the first ``TOP`` hits, of those in ``mask``; equals of the last
    count as well. ``scores`` (n,): exact ones, by id."""
    ids = np.array([hit.image_id for hit in hits], np.int64)
    if mask is not None:
        ids, scores = ids[mask[ids]], np.where(mask, scores, -np.inf)
    wanted = min(TOP, int(np.isfinite(scores).sum()))
    worst = np.partition(scores, -wanted)[-wanted]
    return float((scores[ids[:TOP]] >= worst - TOLERANCE).sum()) / wanted


def _batched(index: VectorStore, size: int, queries: Array, batch: int) -> float:
    """Queries a second, ``batch`` of them in a call, one call after the other."""
    whole = len(queries) // batch * batch
    began = time.perf_counter()
    for start in range(0, whole, batch):
        index.query(VERSION, size, queries[start : start + batch], TOP + SPARE)
    return whole / (time.perf_counter() - began)


def _figures(found: Mapping[int, Found]) -> list[Figure]:
    figures = [
        Figure(f"recall@{TOP}, {size:,} photos, {kind}", statistics.mean(own), LEAST_RECALL)
        for size, one in found.items()
        for kind, own in one.recalls.items()
    ]
    for size, one in found.items():
        times = quantiles_ms(one.times_s)
        figures += [Figure(f"{key} of a query, {size:,} photos, ms", times[key]) for key in ("p50", "p99")]
    if {SMALL, LARGE} <= found.keys():
        ratio = ratio_of(found[LARGE].p50_ms, found[SMALL].p50_ms)
        figures.append(Figure(f"p50 at {LARGE:,} over that at {SMALL:,}", ratio, most=MOST_RATIO))
    return figures


def ratio_of(large: Sequence[float], small: Sequence[float]) -> float:
    """The median over rounds of one over the other, each beside it."""
    return statistics.median(one / other for one, other in zip(large, small, strict=True))


def _details(found: Mapping[int, Found]) -> dict[str, Any]:
    return {
        str(size): {
            "build_s": one.build_s,
            "single_ms": quantiles_ms(one.times_s),
            "filtered_ms": quantiles_ms(one.filtered_s),
            "recall": {kind: statistics.mean(own) for kind, own in one.recalls.items()},
            "queries_per_s": {str(batch): statistics.median(own) for batch, own in one.rates.items()},
        }
        for size, one in found.items()
    }


def _print(found: Mapping[int, Found]) -> None:
    table = Table(
        *(
            "photos",
            "stored/s",
            "recall: photos",
            "prompts",
            "filtered",
            "p50 ms",
            "p99 ms",
            "filtered p50 ms",
        ),
        *(f"queries/s by {batch}" for batch in BATCHES),
        title="The index by size of catalogue",
    )
    for size, one in found.items():
        recalls = (f"{statistics.mean(own):.3f}" for own in one.recalls.values())
        times, filtered = quantiles_ms(one.times_s), quantiles_ms(one.filtered_s)
        rates = (f"{statistics.median(own):.0f}" for own in one.rates.values())
        row = f"{times['p50']:.1f}", f"{times['p99']:.1f}", f"{filtered['p50']:.1f}"
        table.add_row(f"{size:,}", f"{size / one.build_s:.0f}", *recalls, *row, *rates)
    log.print(table)
