"""Recommendations over HTTP, against the bare encoder with the bare search, and against a peer.

Clients ask distinct prompts of a shop with 10,000 photos (``--repeat`` has them ask the same few): first in
a closed loop, each as soon as it has its answer, then in an open one, at fixed rates, where latency counts
from the moment at which a request was due. They run on the same machine and take their share of it.

The bare limit is what one prompt costs without any service: the encoder alone, in a process by itself with
the same weights, backend (--backend), dtype and threads, and one search at the same Chroma. The peer
(``--peer monolith``) is a FastAPI process with the model, in torch, and an embedded Chroma in it
(``monolith.py``), with the same weights, dtype and vectors. All take turns. Some answers of every round are
compared with exact ones.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from configs.serving import CollectionArgs
from db.vectors import VectorStore
from models.errors import ConfigurationError
from scripts.benchmark.bare_model import BareModel
from scripts.benchmark.http_load import Load, Target, closed_loop, open_loop
from scripts.benchmark.mixed import quantiles_ms
from scripts.benchmark.own_config import with_backend
from scripts.benchmark.peer import monolith
from scripts.benchmark.processor_time import between, used_s
from scripts.benchmark.prompted_catalogue import Judged, PromptedCatalogue, judged, prompted_catalogue
from scripts.benchmark.prompts import distinct_prompts
from scripts.benchmark.workbench import Workbench, workbench
from scripts.console import log
from scripts.measurement.report import Figure

# Issue 6, "Must show".
OVERHEAD_MS = 8.0
LEAST_OVER_PEER = {16: 2.5, 64: 4.0}
MOST_P99_MS = {64: 2000.0}
LEAST_RECALL = 0.98
WARM_UP_S = 3.0
OPEN_SHARES = 0.5, 0.8  # of the largest closed-loop rate
BARE_PROMPTS = 100
BARE_BATCHES = 1, 8, 16, 32
REPEATED = 50
TOP = 10


@dataclass
class Samples:
    """Of one number of clients: the load of each round, and what the service's parts used for a request."""

    service: list[Load] = field(default_factory=list)
    peer: list[Load] = field(default_factory=list)
    core_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Options:
    """``seconds``: of each round; ``repeat``: prompts come again, as a cache would like.

    ``backend``: of the service and of the bare encoder; the peer's is torch.
    """

    backend: str
    photos: int
    clients: Sequence[int]
    seconds: float
    rounds: int
    repeat: bool
    peer: bool


def measure(directory: Path, model: str | None, config: Path, options: Options) -> tuple[list[Figure], Any]:
    """The figures, and all that they come from. Prints tables."""
    if options.peer and options.backend != "torch":
        raise ConfigurationError(
            "The peer computes with torch, and both sides must have one backend. "
            f"Leave out --peer monolith, or --backend {options.backend}."
        )
    own_config = with_backend(config, options.backend, directory / "config.yaml")
    with ExitStack() as running:
        bench = running.enter_context(workbench(directory, model, own_config))
        log.print(f"Storing {options.photos:,} photos ...")
        catalogue = prompted_catalogue(bench, options.photos, seed=1)
        service, peer = _service(bench, catalogue), None
        if options.peer:
            peer = running.enter_context(monolith(directory / "peer", bench.checkpoint, catalogue.photos))
        bare = running.enter_context(BareModel(bench.checkpoint, bench.args.text_embedder))
        bench.wait_until_quiet()
        limits = _limits(bench, catalogue, bare)
        asked = _prompts(options.repeat)
        for target in (service, peer):
            if target is not None:
                closed_loop(target, asked, max(options.clients), WARM_UP_S)
        samples = {count: Samples() for count in options.clients}
        for number in range(options.rounds):
            for count, own in samples.items():
                _round(bench, (service, peer), asked, count, options.seconds, own)
            log.print(f"round {number + 1}: {_in_words(samples)}")
        opened = _opened(service, asked, samples, options.seconds)
        kept = [one for own in samples.values() for load in own.service for one in load.kept]
        figures = _figures(samples, limits, judged(bench, catalogue, kept))
    _print(samples, opened)
    return figures, {"bare": limits, "closed": _details(samples), "open": opened}


def _service(bench: Workbench, catalogue: PromptedCatalogue) -> Target:
    return Target(
        f"{bench.running.url}/api/recommendations/",
        {"Authorization": f"Bearer {catalogue.shop.key}"},
        lambda prompt: {"prompt": prompt, "number_of_images": TOP},
    )


def _prompts(repeat: bool) -> Iterator[str]:
    asked = distinct_prompts(time.time_ns())
    return cycle(list(islice(asked, REPEATED))) if repeat else asked


def _round(
    bench: Workbench,
    targets: tuple[Target, Target | None],
    asked: Iterator[str],
    clients: int,
    seconds: float,
    samples: Samples,
) -> None:
    service, peer = targets
    before = used_s(bench.data, bench.pid)
    load = closed_loop(service, asked, clients, seconds)
    for part, used in between(before, used_s(bench.data, bench.pid)).items():
        samples.core_ms[part].append(1000 * used / len(load.times_s))
    samples.service.append(load)
    if peer is not None:
        samples.peer.append(closed_loop(peer, asked, clients, seconds))


def _limits(bench: Workbench, catalogue: PromptedCatalogue, bare: BareModel) -> dict[str, float]:
    """Milliseconds and rates of the bare encoder and the bare search."""
    found = {}
    for batch in BARE_BATCHES:
        one = bare.measure(BARE_PROMPTS * (1 if batch == 1 else 4), batch)
        found[f"encoder, batches of {batch}: prompts/s"] = one.rate
        if batch == 1:
            found["encode_ms"] = 1000 * statistics.median(one.times_s)
    index, random = VectorStore(bench.running.chroma_url, CollectionArgs()), np.random.default_rng(2)
    (version_id, shop_id), times_s = next(iter(index.collections())), []
    for _ in range(BARE_PROMPTS):
        vector = catalogue.photos[random.integers(len(catalogue.photos))]
        began = time.perf_counter()
        index.query(version_id, shop_id, vector[None], TOP)
        times_s.append(time.perf_counter() - began)
    found["search_ms"] = 1000 * statistics.median(times_s)
    return found


def _opened(
    service: Target, asked: Iterator[str], samples: dict[int, Samples], seconds: float
) -> dict[str, dict[str, float]]:
    fastest = max(statistics.median(load.rate for load in own.service) for own in samples.values())
    found = {}
    for share in OPEN_SHARES:
        load = open_loop(service, asked, share * fastest, 2 * seconds, seed=3)
        found[f"{share * fastest:.0f}/s"] = quantiles_ms(load.times_s) | {"rate": load.rate}
    return found


def _times_ms(loads: Sequence[Load]) -> dict[str, float]:
    return quantiles_ms([one for load in loads for one in load.times_s])


def _figures(samples: dict[int, Samples], limits: dict[str, float], answers: Judged) -> list[Figure]:
    figures = [
        Figure("recall@10 of the answers, against exact search", answers.recall, LEAST_RECALL),
        Figure(f"answers with exact scores in order, of {answers.answers}", answers.right, 1.0),
    ]
    for count, own in samples.items():
        if count == 1:
            figures += _single(own, limits)
        rates = [load.rate for load in own.service]
        figures.append(Figure(f"{count} client(s): answers/s", statistics.median(rates)))
        if own.peer:
            over = [one.rate / other.rate for one, other in zip(own.service, own.peer, strict=True)]
            name = f"{count} client(s): rate over the peer's"
            figures.append(Figure(name, statistics.median(over), LEAST_OVER_PEER.get(count)))
        if count in MOST_P99_MS:
            p99 = _times_ms(own.service)["p99"]
            figures.append(Figure(f"{count} clients: p99, ms", p99, most=MOST_P99_MS[count]))
    return figures


def _single(own: Samples, limits: dict[str, float]) -> list[Figure]:
    p50, bare_ms = _times_ms(own.service)["p50"], limits["encode_ms"] + limits["search_ms"]
    figures = [
        Figure("one client: bare encode and search, ms", bare_ms),
        Figure("one client: p50, ms", p50),
        Figure("one client: p50 above the bare one, ms", p50 - bare_ms, most=OVERHEAD_MS),
    ]
    if own.peer:
        of_peer = _times_ms(own.peer)["p50"]
        figures += [
            Figure("one client: the peer's p50, ms", of_peer),
            Figure("one client: p50 over the peer's", p50 / of_peer, most=1.0),
        ]
    return figures


def _details(samples: dict[int, Samples]) -> dict[str, Any]:
    return {
        str(count): {
            "service": _times_ms(own.service) | {"rate": [load.rate for load in own.service]},
            "peer": _times_ms(own.peer) | {"rate": [load.rate for load in own.peer]} if own.peer else None,
            "core_ms": {part: statistics.median(used) for part, used in own.core_ms.items()},
        }
        for count, own in samples.items()
    }


def _in_words(samples: dict[int, Samples]) -> str:
    parts = []
    for count, own in samples.items():
        of_peer = f" (peer {own.peer[-1].rate:.1f})" if own.peer else ""
        parts.append(f"{count}: {own.service[-1].rate:.1f}/s{of_peer}")
    return ", ".join(parts)


def _print(samples: dict[int, Samples], opened: dict[str, dict[str, float]]) -> None:
    table = Table("clients", "of", "answers/s", "p50 ms", "p90 ms", "p99 ms", "slowest", title="Closed loop")
    for count, own in samples.items():
        for name, loads in (("service", own.service), ("peer", own.peer)):
            if loads:
                rate = statistics.median(load.rate for load in loads)
                times = (f"{one:.1f}" for one in _times_ms(loads).values())
                table.add_row(str(count), name, f"{rate:.1f}", *times)
    log.print(table)
    table = Table("due", "p50 ms", "p90 ms", "p99 ms", "slowest", "answers/s", title="Open loop")
    for due, row in opened.items():
        table.add_row(due, *(f"{one:.1f}" for one in row.values()))
    log.print(table)
    table = Table("part", *(f"{count} client(s)" for count in samples), title="Core ms per request")
    for part in sorted({part for own in samples.values() for part in own.core_ms}):
        used = (statistics.median(own.core_ms.get(part) or [0.0]) for own in samples.values())
        table.add_row(part, *(f"{one:.2f}" for one in used))
    log.print(table)
