"""Exactness and cost of filters: the parts alone, in this process.

Timed is everything between a request's vector and the rows of its answer: the filters' resolution, the photos
that match, the search, the rows. Not timed: HTTP, Ray Serve, the text tower.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from configs.serving import CollectionArgs, SearchArgs
from db import index_versions, keys, migrate
from db.session import Database
from db.vectors import VectorStore
from models.filter_api import Filters
from models.search import VersionRef
from scripts.measurement.clustered import Array, Clustered, clustered
from scripts.measurement.direct_index import DirectIndex, DirectParts
from scripts.measurement.filter_cases import cases
from scripts.measurement.report import Figure, Times, print_times
from scripts.measurement.stock import Stock, store
from serve_app.exact_search import ExactSearch
from serve_app.local_services import LocalChroma, LocalPostgres
from serve_app.photos import ImageGeometry
from serve_app.search import Search, candidates
from serve_app.served_model import ServedModel

DIMENSION = 512
TOP = 10
CACHE_BYTES = 2**28
LOOKED_UP = "narrow", "medium: an attribute"
# What the query is not about is found thousands of places deep, where the index is less reliable.
LIMITS_BEYOND = {"least alike category": 0.97}
MODEL = ServedModel(
    source="",
    name="measured",
    revision="0" * 40,
    key="measured@0/p1",
    dimension=DIMENSION,
    geometry=ImageGeometry(224, 224),
    logit_scale=100.0,
    fell_back=False,
)


def measure(directory: Path, photos: int, queries: int) -> tuple[list[Figure], Times]:
    """The figures and the times; prints a table of these."""
    directory.mkdir(parents=True)
    postgres, chroma = LocalPostgres(directory), LocalChroma(directory)
    database: Database | None = None
    try:
        url = postgres.start()
        migrate.upgrade(url)
        database, index = Database(url), VectorStore(chroma.start(), CollectionArgs())
        return asyncio.run(_measure(database, index, photos, queries))
    finally:
        if database is not None:
            database.close()
        chroma.stop()
        postgres.stop()


async def _measure(
    database: Database, index: VectorStore, photos: int, queries: int
) -> tuple[list[Figure], Times]:
    with database.transaction() as session:
        version = index_versions.ensure_live(session, MODEL.key, DIMENSION).id or 0
        shop_id = keys.create_shop(session, "Measured", "measured@example.com").id or 0
    vectors = clustered(photos, queries, DIMENSION, seed=7)
    stock = store(database, index, (version, shop_id), MODEL.key, vectors)
    ref = VersionRef(version, MODEL.key, DIMENSION)
    direct = DirectIndex(index, ref, ExactSearch(database, CACHE_BYTES))
    parts = DirectParts(database, direct, SearchArgs(), MODEL)
    figures, times_s = await _filters(parts, shop_id, stock, vectors)
    by_index = DirectParts(database, parts.index, SearchArgs(exact_photos=1), MODEL)
    return figures + await _beyond(by_index, shop_id, stock, vectors), times_s


async def _filters(
    parts: DirectParts, shop_id: int, stock: Stock, vectors: Clustered
) -> tuple[list[Figure], Times]:
    """Each query with each filter, in turns; the answers against NumPy, in sets and order."""
    times_s: dict[str, list[float]] = defaultdict(list)
    right: dict[str, list[bool]] = defaultdict(list)
    shares: dict[str, list[float]] = defaultdict(list)
    matching: dict[str, int] = {}
    for query in vectors.prompts:
        for name, (filters, mask) in cases(stock, vectors, query).items():
            started = time.perf_counter()
            found = await _answer(parts, shop_id, query, filters)
            times_s[name].append(time.perf_counter() - started)
            wanted = _oracle(stock, vectors, query, mask)
            right[name].append(found == wanted)
            shares[name].append(_share(found, wanted))
            matching[name] = int(mask.sum())
    print_times(f"From vector to rows, {len(stock.ids):,} photos of {DIMENSION} numbers", times_s, matching)
    figures = [
        Figure(f"first {TOP} equal NumPy's in set, order and score, {name}", float(np.mean(right[name])), 1.0)
        for name in LOOKED_UP
    ] + [Figure(f"recall@{TOP}, {name}", float(np.mean(own)), 0.99) for name, own in shares.items()]
    return figures, times_s


async def _beyond(parts: DirectParts, shop_id: int, stock: Stock, vectors: Clustered) -> list[Figure]:
    """As in a shop where more match than are compared one by one: the index, then the filter."""
    shares: dict[str, list[float]] = defaultdict(list)
    for query in vectors.prompts:
        for name, (filters, mask) in cases(stock, vectors, query).items():
            found = await _answer(parts, shop_id, query, filters)
            shares[name].append(_share(found, _oracle(stock, vectors, query, mask)))
    return [
        Figure(
            f"recall@{TOP} by the index, filtered afterwards, {name}",
            float(np.mean(own)),
            LIMITS_BEYOND.get(name, 0.99),
        )
        for name, own in shares.items()
    ]


async def _answer(
    parts: DirectParts, shop_id: int, query: Array, filters: dict[str, Any] | None
) -> list[tuple[int, float]]:
    wanted = None if filters is None else Filters.model_validate(filters)
    found = await candidates(parts, shop_id, wanted)
    best = await Search(parts, shop_id, query, candidates=found).best(TOP)
    return [(one.row.image_id, one.score) for one in best]


def _share(found: list[tuple[int, float]], wanted: list[tuple[int, float]]) -> float:
    """How many of the wanted were found, by id."""
    return len(dict(found).keys() & dict(wanted).keys()) / len(wanted)


def _oracle(stock: Stock, vectors: Clustered, query: Array, mask: Any) -> list[tuple[int, float]]:
    scores = np.round(vectors.photos[mask].astype(np.float64) @ query.astype(np.float64), 6)
    order = np.lexsort((stock.ids[mask], -scores))[:TOP]
    return list(zip(stock.ids[mask][order].tolist(), scores[order].tolist(), strict=True))
