"""The rate of bulk work over that of the bare model: decoding, PostgreSQL and Chroma included.

Both embed the same photos with the same weights, batch, dtype and number of threads. They take turns, since
the machine is never the same for long; a rate is the median of its rounds. A round of the bare model is a
loop over prepared pixels in a process by itself, while the service is idle. A round of bulk work begins with
the commit of its photos' rows and ends with the last one's `embedded`, the pipeline's start and end included.
The rest of it (files, decoding, PostgreSQL, Chroma, Serve) may use the machine's other cores.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from sqlalchemy import text

from scripts.benchmarks.backlog import plant
from scripts.benchmarks.bare_model import BareModel, BareRound
from scripts.benchmarks.photos import HEIGHT_PX, WIDTH_PX, PhotoFile, write_photos
from scripts.benchmarks.processor_time import between, used_s
from scripts.benchmarks.workbench import PREFIX, Workbench, workbench
from scripts.console import log
from scripts.measurement.report import Figure

LEAST_RATIO = 0.85  # issue 5, "Must show"; 0.90 is the aim
TIMEOUT_S = 600.0
DONE = text(
    """
    SELECT count(*) FILTER (WHERE status = 'embedded'), count(*) FILTER (WHERE status = 'failed'),
           extract(epoch FROM max(embedded_at) - min(created_at)), min(error)
      FROM image WHERE shop_id = :shop_id
    """
)


@dataclass(frozen=True)
class BulkRound:
    """``cpu_s``: processor time by part of the service."""

    photos: int
    seconds: float
    cpu_s: dict[str, float]

    @property
    def rate(self) -> float:
        """Photos per second."""
        return self.photos / self.seconds


def measure(directory: Path, model: str | None, photos: int, rounds: int) -> tuple[list[Figure], Any]:
    """The figures, and all that they come from. Prints tables."""
    with workbench(directory, model) as bench:
        files = write_photos(bench.media, photos)
        bench.wait_until_quiet()
        args, batch = bench.args.image_embedder, bench.args.indexer.embed_batch
        with BareModel(bench.checkpoint, files[0].path.parent, batch, args) as bare:
            bare.measure(batch)
            _bulk_round(bench, "warm-up", files[: 2 * bench.args.indexer.claim_size])
            pairs = []
            for number in range(rounds):
                pairs.append((bare.measure(photos), _bulk_round(bench, f"round{number}", files)))
                log.print(
                    f"round {number + 1}: bare {pairs[-1][0].rate:.1f}/s, bulk {pairs[-1][1].rate:.1f}/s"
                )
        return _report(bench, files, pairs)


def _bulk_round(bench: Workbench, name: str, files: list[PhotoFile]) -> BulkRound:
    shop = bench.new_shop(name)
    before = used_s(bench.data, bench.pid)
    plant(bench.database, shop.id, PREFIX, files)
    seconds = _until_embedded(bench, shop.id, len(files))
    used = between(before, used_s(bench.data, bench.pid))
    bench.wait_until_quiet()
    return BulkRound(len(files), seconds, used)


def _until_embedded(bench: Workbench, shop_id: int, photos: int) -> float:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with bench.database.transaction() as session:
            embedded, failed, seconds, error = session.execute(DONE, {"shop_id": shop_id}).one()
        if failed:
            raise AssertionError(f"{failed} photos failed: {error}")
        if embedded == photos:
            return float(seconds)
        time.sleep(0.5)
    raise AssertionError(f"{embedded} of {photos} photos after {TIMEOUT_S:g} s")


def ratio_of(pairs: list[tuple[float, float]]) -> float:
    """The median over rounds of (bare, bulk) rates, each bulk round against the bare one beside it."""
    return statistics.median(bulk / bare for bare, bulk in pairs)


def _report(
    bench: Workbench, files: list[PhotoFile], pairs: list[tuple[BareRound, BulkRound]]
) -> tuple[list[Figure], Any]:
    args, indexer = bench.args.image_embedder, bench.args.indexer
    sizes = [file.size_bytes for file in files]
    log.print(
        f"{len(files)} photos of {WIDTH_PX} x {HEIGHT_PX} px, {min(sizes) // 1000} to "
        f"{max(sizes) // 1000} kB, {len(pairs)} rounds; both with batches of {indexer.embed_batch}, dtype "
        f"{args.dtype}, {args.threads} torch thread(s); "
        f"claims of {indexer.claim_size}, {indexer.max_tasks} tasks in flight"
    )
    stages = _stages(pairs)
    _print_stages(stages)
    bare = statistics.median(one.rate for one, _ in pairs)
    bulk = statistics.median(one.rate for _, one in pairs)
    ratio = ratio_of([(one.rate, other.rate) for one, other in pairs])
    figures = [
        Figure("bare model, photos/s", bare),
        Figure("bulk work, photos/s", bulk),
        Figure("bulk rate over the bare model's", ratio, LEAST_RATIO),
    ]
    return figures, {"core_ms_per_photo": stages, "rounds": [[one.rate, other.rate] for one, other in pairs]}


def _stages(pairs: list[tuple[BareRound, BulkRound]]) -> dict[str, float]:
    """Core milliseconds per photo: of the bare model, of preparing one alone, and of each part in bulk."""
    parts: dict[str, list[float]] = defaultdict(list)
    for bare, bulk in pairs:
        parts["bare model"].append(1000 * bare.cpu_s / bare.photos)
        parts["decode and resize, alone"].append(1000 * bare.decode_s)
        for name, seconds in bulk.cpu_s.items():
            parts[f"bulk: {name}"].append(1000 * seconds / bulk.photos)
        parts["bulk: in all"].append(1000 * sum(bulk.cpu_s.values()) / bulk.photos)
    return {name: statistics.median(own) for name, own in parts.items()}


def _print_stages(stages: dict[str, float]) -> None:
    table = Table("part", "core ms per photo", title="Processor time")
    for name, milliseconds in stages.items():
        table.add_row(name, f"{milliseconds:.2f}")
    log.print(table)
