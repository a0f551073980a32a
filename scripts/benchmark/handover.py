"""Photos handed to the ImageEmbedder by bulk work: in a message, and through Ray's object store, in turns.

The tower does not compute here, so what is left is the way to it and back. A Ray task calls, one call after
the other, as the service's own tasks do; its processor time stands beside the time that a call takes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from scripts.benchmark.sleeping_bench import sleeping_bench
from scripts.benchmark.sleeping_encoder import Sleeps
from scripts.console import log
from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, make_checkpoint
from scripts.measurement.report import Figure

if TYPE_CHECKING:
    from serve_app.tasks.served_version import ServedVersion

PHOTOS = 1, 8, 24
CALLS, WARM_UP_CALLS = 5, 10
NEVER = 2**62
TIMEOUT_S = 200.0
MESSAGE, STORE = "in a message", "through the object store"


@dataclass(frozen=True)
class Calls:
    """Medians: milliseconds of a call, and of the caller's processor time for one."""

    photos: int
    way: str
    call_ms: float
    core_ms: float


def measure(directory: Path, model: str | None, rounds: int) -> tuple[list[Figure], Any]:
    """The figures, and all that they come from. Prints a table."""
    checkpoint = Path(model) if model else make_checkpoint(directory / "checkpoint", FASHION_CLIP_SHAPE)
    with sleeping_bench(directory, checkpoint, Sleeps(0.0, 0.0)) as (bench, _):
        bench.wait_until_quiet()
        found = _from_a_task(rounds)
    _print(found)
    medians = {(one.photos, one.way): one.call_ms for one in found}
    figures = [Figure(f"{one.photos} photo(s) {one.way}: ms a call", one.call_ms) for one in found]
    for count in PHOTOS:
        ratio = medians[count, MESSAGE] / medians[count, STORE]
        figures.append(Figure(f"{count} photo(s): a message over the object store", ratio))
    return figures, {"calls": [asdict(one) for one in found]}


def _from_a_task(rounds: int) -> list[Calls]:
    import ray
    from ray import serve

    from scripts.join_service import APP_NAME

    live = serve.get_deployment_handle("Indexer", APP_NAME).live.remote().result(timeout_s=TIMEOUT_S)
    task = ray.remote(_timed).options(num_cpus=0.05, max_retries=0)
    found: list[Calls] = ray.get(task.remote(live, rounds), timeout=TIMEOUT_S)
    return found


def _timed(live: ServedVersion, rounds: int) -> list[Calls]:
    from serve_app.handles import BulkImageEmbedderHandle

    ways = {
        name: BulkImageEmbedderHandle(
            live.image_embedder, TIMEOUT_S, live.context.model.key, by_reference_bytes=least
        )
        for name, least in ((MESSAGE, NEVER), (STORE, 0))
    }
    side, draw = live.context.model.geometry.crop_px, np.random.default_rng(0)
    found = []
    for count in PHOTOS:
        pixels = draw.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, embedder in ways.items():
                for _ in range(CALLS):
                    started, started_cpu = time.perf_counter(), time.process_time()
                    embedder.embed(pixels)
                    took = time.perf_counter() - started, time.process_time() - started_cpu
                    times[name].append(took)
        found += [Calls(count, name, *_medians_ms(own[WARM_UP_CALLS:])) for name, own in times.items()]
    return found


def _medians_ms(times_s: Sequence[tuple[float, float]]) -> tuple[float, float]:
    calls, cores = zip(*times_s, strict=True)
    return 1000 * statistics.median(calls), 1000 * statistics.median(cores)


def _print(found: Sequence[Calls]) -> None:
    table = Table("photos", "way", "a call, ms", "the caller's core ms", title="To the ImageEmbedder")
    for one in found:
        table.add_row(str(one.photos), one.way, f"{one.call_ms:.1f}", f"{one.core_ms:.1f}")
    log.print(table)
