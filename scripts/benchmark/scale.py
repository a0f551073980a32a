"""What further nodes bring: queries and bulk work on one Ray node, on two, on four, all on this machine.

A second real model would only take the first one's cores, so the towers sleep here, as long as the model was
just measured to compute, one call at a time in each replica: four prompts, eight photos, as ``transformers``
does it in float32 with prompts padded to 77 tokens. Those are its longest times: with shorter ones this
machine's cores, which all nodes share, would be the limit. All else is the service as it is: HAProxy, HTTP,
Serve, Chroma, PostgreSQL, files and decoding; how many cores that took stands beside each rate. Each node has
one replica of each deployment, but for the Indexer.

Nodes join and leave a running service, in rounds, and the fewest are measured once more at the end. At each
number, once the machine rests, clients ask distinct prompts over HTTP in a closed loop, then photos that wait
in PostgreSQL are embedded. Vectors are drawn from the prompts and the pixels, and answers compared with the
exact ones.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
from rich.table import Table

from configs.serving import CollectionArgs
from db import index_versions
from db.vectors import VectorStore
from scripts.benchmark.backlog import plant
from scripts.benchmark.bulk import until_embedded
from scripts.benchmark.http_load import Answered, Target, closed_loop
from scripts.benchmark.measured_sleeps import PHOTOS_PER_CALL, measured_sleeps
from scripts.benchmark.mixed import quantiles_ms
from scripts.benchmark.photos import PhotoFile, write_photos
from scripts.benchmark.prompted_catalogue import TOP, PromptedCatalogue, judged, prompted_catalogue
from scripts.benchmark.prompts import distinct_prompts
from scripts.benchmark.sleeping_bench import PROMPTS_PER_CALL, sleeping_bench
from scripts.benchmark.sleeping_encoder import drawn_vectors, vector_of
from scripts.benchmark.workbench import PREFIX, Workbench
from scripts.console import log
from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, make_checkpoint
from scripts.measurement.report import Figure
from serve_app.photos import ImageGeometry, prepare_photo
from serve_app.ports import Pixels

LEAST_GAIN = {2: 1.8}  # issue 6, "Must show"
CATALOGUE = 2_000
CLIENTS_PER_NODE = 16
RAMP = 0.25  # of the seconds
WARM_UP_S = 1.5  # for each node
LOOK_S, RESTING_CORES, REST_TIMEOUT_S = 1.0, 0.6, 15.0
PHOTOS_PER_S = 8  # for each node and second, near what a node embeds: rounds of both kinds are as long
WARM_UP_PHOTOS = 48  # for each node, so that the processes of its tasks run
CHECKED_PHOTOS = 48
SAME = 0.9999
DRAWN = partial(drawn_vectors, dimension=FASHION_CLIP_SHAPE.dimension)
T = TypeVar("T")


@dataclass(frozen=True)
class Visit:
    """One stay at a number of nodes. ``busy``: cores of the machine that were, clients and all; and idly."""

    nodes: int
    idle_busy: float
    answers_per_s: float
    p50_ms: float
    queries_busy: float
    photos_per_s: float
    bulk_busy: float


@dataclass(frozen=True)
class Stage:
    """What is asked and embedded at every number of nodes."""

    bench: Workbench
    catalogue: PromptedCatalogue
    files: list[PhotoFile]
    seconds: float


def measure(
    directory: Path, model: str | None, nodes: Sequence[int], rounds: int, seconds: float
) -> tuple[list[Figure], Any]:
    """The figures, and what each visit to a number of ``nodes`` measured. Prints a table."""
    files = write_photos(directory / "data" / "media" / PREFIX, photos_of(seconds, max(nodes)))
    checkpoint = Path(model) if model else make_checkpoint(directory / "checkpoint", FASHION_CLIP_SHAPE)
    sleeps = measured_sleeps(checkpoint)
    prompts_ms, photos_ms = 1000 * PROMPTS_PER_CALL * sleeps.prompt_s, 1000 * PHOTOS_PER_CALL * sleeps.photo_s
    log.print(
        f"{PROMPTS_PER_CALL} prompts sleep {prompts_ms:.0f} ms, {PHOTOS_PER_CALL} photos {photos_ms:.0f} ms"
    )
    with sleeping_bench(directory, checkpoint, sleeps) as (bench, cluster):
        catalogue = prompted_catalogue(bench, CATALOGUE, 1, DRAWN)
        stage = Stage(bench, catalogue, files, seconds)
        visits: list[Visit] = []
        kept: Answered = []
        right: list[bool] = []
        for count in in_turn(nodes, rounds):
            cluster.resize(count)
            visits.append(_visit(stage, count, kept, right))
            log.print(_in_words(visits[-1]))
        answers = judged(bench, catalogue, kept, DRAWN)
    _print(visits)
    figures = [
        *gains(visits),
        Figure("recall@10 of the answers, against exact search", answers.recall, 0.98),
        Figure(f"answers with exact scores in order, of {answers.answers}", answers.right, 1.0),
        Figure(f"photos found by their exact vector, of {len(right)}", float(np.mean(right)), 1.0),
    ]
    return figures, {"sleeps": asdict(sleeps), "visits": [asdict(visit) for visit in visits]}


def photos_of(seconds: float, nodes: int) -> int:
    """Those of a round of bulk work; also enough for the warm-up."""
    return nodes * max(int(PHOTOS_PER_S * seconds), WARM_UP_PHOTOS)


def in_turn(nodes: Sequence[int], rounds: int) -> list[int]:
    """The fewest once more at the end: what they are compared with is measured early and late."""
    return sorted(nodes) * rounds + [min(nodes)]


def steady_rate(ended_s: Sequence[float], started_s: float, seconds: float) -> float:
    """Answers a second while every client waits for one: neither the first ones, nor those to which no client
    asks again, since then a replica has nothing to do while the other one still has a queue."""
    first, last = started_s + RAMP * seconds, started_s + seconds
    return sum(first <= moment < last for moment in ended_s) / (last - first)


def gains(visits: Sequence[Visit]) -> list[Figure]:
    """Median rates, and those of more nodes over those of the fewest."""
    found, fewest = [], min(visit.nodes for visit in visits)
    for name, kind in (("queries", "answers_per_s"), ("bulk", "photos_per_s")):
        rates = {
            count: statistics.median(getattr(visit, kind) for visit in visits if visit.nodes == count)
            for count in sorted({visit.nodes for visit in visits})
        }
        found += [Figure(f"{name} on {count} node(s), per second", rate) for count, rate in rates.items()]
        found += [
            Figure(f"{name} on {count} nodes over {fewest}", rate / rates[fewest], LEAST_GAIN.get(count))
            for count, rate in rates.items()
            if count > fewest
        ]
    return found


def _pixels(checkpoint: Path, files: Sequence[PhotoFile]) -> Pixels:
    geometry = ImageGeometry.of(checkpoint)
    return np.stack([prepare_photo(file.path.read_bytes(), geometry) for file in files])


def _visit(stage: Stage, count: int, kept: Answered, right: list[bool]) -> Visit:
    service = Target(
        f"{stage.bench.running.url}/api/recommendations/",
        {"Authorization": f"Bearer {stage.catalogue.shop.key}"},
        lambda prompt: {"prompt": prompt, "number_of_images": TOP},
    )
    asked, clients = distinct_prompts(time.time_ns()), CLIENTS_PER_NODE * count
    closed_loop(service, asked, clients, WARM_UP_S * count)
    idle = _rest()
    started = time.perf_counter()
    load, asking = _with_cores(lambda: closed_loop(service, asked, clients, stage.seconds))
    answers_per_s = steady_rate(load.ended_s, started, stage.seconds)
    kept += load.kept
    _embed(stage, f"warm-up-{count}", stage.files[: WARM_UP_PHOTOS * count])
    files = stage.files[: photos_of(stage.seconds, count)]
    (shop_id, seconds), embedding = _with_cores(lambda: _embed(stage, f"nodes-{count}", files))
    right += _found(stage, shop_id, files)
    p50_ms = quantiles_ms(load.times_s)["p50"]
    return Visit(count, idle, answers_per_s, p50_ms, asking, len(files) / seconds, embedding)


def _embed(stage: Stage, name: str, files: list[PhotoFile]) -> tuple[int, float]:
    """The new shop that the photos are planted in, and what embedding them took, in seconds."""
    shop = stage.bench.new_shop(f"{name}-{time.time_ns()}")
    # Each new process of a task would first have all categories embedded, which is no part of its rate.
    plant(stage.bench.database, shop.id, PREFIX, files, judged=False)
    return shop.id, until_embedded(stage.bench, shop.id, len(files))


def _found(stage: Stage, shop_id: int, files: list[PhotoFile]) -> list[bool]:
    """Whether the index has, nearest to a file's exact vector, a photo with that very vector."""
    checked = files[:: max(1, len(files) // CHECKED_PHOTOS)]
    with stage.bench.database.transaction() as session:
        version = index_versions.live(session)
    if version is None or version.id is None:
        raise AssertionError("the service runs")
    pixels = _pixels(stage.bench.checkpoint, checked)
    vectors = np.stack([vector_of(one.tobytes(), version.dimension) for one in pixels])
    index = VectorStore(stage.bench.running.chroma_url, CollectionArgs())
    hits = index.query(version.id, shop_id, vectors, 1)
    return [bool(own) and own[0].score >= SAME for own in hits]


def _rest() -> float:
    """Wait until joining and leaving are over, for a while; the cores that are busy then."""
    deadline = time.monotonic() + REST_TIMEOUT_S
    while True:
        _, idle = _with_cores(lambda: time.sleep(LOOK_S))
        if idle < RESTING_CORES or time.monotonic() > deadline:
            return idle


def _with_cores(work: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and how many of this machine's cores were busy meanwhile."""
    before, started = _busy_s(), time.perf_counter()
    found = work()
    return found, (_busy_s() - before) / (time.perf_counter() - started)


def _busy_s() -> float:
    """Processor time that this machine has spent so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)


def _in_words(visit: Visit) -> str:
    return (
        f"{visit.nodes} node(s): {visit.answers_per_s:.1f} answers/s on {visit.queries_busy:.2f} cores, "
        f"{visit.photos_per_s:.1f} photos/s on {visit.bulk_busy:.2f} cores; {visit.idle_busy:.2f} idly"
    )


def _print(visits: Sequence[Visit]) -> None:
    table = Table(
        "nodes", "idle cores", "answers/s", "p50 ms", "cores", "photos/s", "cores", title="Visits, in turn"
    )
    for visit in visits:
        table.add_row(str(visit.nodes), *(f"{value:.2f}" for value in list(asdict(visit).values())[1:]))
    log.print(table)
