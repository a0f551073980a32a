"""The whole service as a client meets it: HTTP, Ray Serve, the text tower, the search, the rows.

The bundled demo model makes the prompts' vectors, so photos and prompts have 128 numbers here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from configs.serving import CollectionArgs
from db import index_versions, keys
from db.session import Database
from db.vectors import VectorStore
from scripts.create_shop import create_shop
from scripts.measurement.clustered import clustered
from scripts.measurement.filter_cases import cases
from scripts.measurement.report import Figure, Times, print_times, ratios
from scripts.measurement.stock import Stock, store
from scripts.own_service import start, stop, wait_until_it_runs
from serve_app.data_directory import DataDirectory, RunningService

DEMO_MODEL = Path(__file__).resolve().parents[2] / "assets" / "demo-clip"
EMAIL = "measured@example.com"
MOST_RATIO = 2.0
TOP = 10
WARM_UPS = 3


def measure(directory: Path, photos: int, queries: int) -> tuple[list[Figure], Times]:
    """The figures and the times; prints a table of these."""
    data = DataDirectory(directory)
    service = start(data, str(DEMO_MODEL), 0)
    try:
        running = wait_until_it_runs(data, service)
        key = create_shop(running.database_url, data.secret_key(), "Measured", EMAIL)
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=running.url, headers=headers, timeout=60) as client:
            return _measure(client, running, photos, queries)
    finally:
        stop(service)


def _measure(
    client: httpx.Client, running: RunningService, photos: int, queries: int
) -> tuple[list[Figure], Times]:
    database = Database(running.database_url, connections=2)
    try:
        with database.transaction() as session:
            version, shop = index_versions.live(session), keys.find_shop(session, EMAIL)
        if version is None or shop is None:
            raise AssertionError("the service runs, and the shop was made")
        vectors = clustered(photos, 1, version.dimension, seed=11)
        index = VectorStore(running.chroma_url, CollectionArgs())
        place = (version.id or 0, shop.id or 0)
        stock = store(database, index, place, version.model_key, vectors)
    finally:
        database.close()
    wanted = cases(stock, vectors, vectors.prompts[0])
    times_s, found = _times(client, wanted, queries)
    matching = {name: int(mask.sum()) for name, (_, mask) in wanted.items()}
    print_times(f"Over HTTP, {photos:,} photos", times_s, matching)
    complete = [_complete(found[name], stock, mask) for name, (_, mask) in wanted.items()]
    figures = [
        Figure("answers that are complete and hold only what matches", float(np.mean(complete)), 1.0),
        *(
            Figure(f"median over HTTP, to that without a filter, {name}", ratio, most=MOST_RATIO)
            for name, ratio in ratios(times_s).items()
        ),
    ]
    return figures, times_s


def _times(
    client: httpx.Client, wanted: dict[str, Any], queries: int
) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    """Seconds of each request, the kinds taking turns, and the last answer's ids."""
    times_s: dict[str, list[float]] = defaultdict(list)
    found: dict[str, list[int]] = {}
    for number in range(-WARM_UPS, queries):
        for name, (filters, _) in wanted.items():
            body = {"prompt": f"a red dress, number {number}", "number_of_images": TOP, "min_score": -1}
            if filters is not None:
                body["filters"] = filters
            started = time.perf_counter()
            answer = client.post("/api/recommendations/", json=body).raise_for_status().json()
            if number >= 0:
                times_s[name].append(time.perf_counter() - started)
            found[name] = [one["ImageID"] for one in answer["recommendations"]]
    return times_s, found


def _complete(found: list[int], stock: Stock, mask: Any) -> bool:
    return len(found) == min(TOP, int(mask.sum())) and set(found) <= set(stock.ids[mask].tolist())
