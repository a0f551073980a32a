"""The text tower alone, and the TextEmbedder's replica called through its Serve handle, in turns.

First the bare encoder, in a process by itself: batches of 1, 8, 16 and 32 distinct prompts, with each number
of threads. Then a service, its TextEmbedder held at one replica: callers on one event loop, in another
process, that each ask as soon as they have their vector. The limit is the bare encoder beside them, with the
backend (--backend), dtype and threads of the replica, and with its batch size or, where they are fewer, one
prompt of each caller. The caller uses the machine's other core. Some of the vectors are compared with the
bare encoder's.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from configs.serving import EmbedderArgs
from scripts.benchmark.bare_model import BareModel, BareRound
from scripts.benchmark.encoder_rates import (
    BATCHES,
    encoder_rates,
    figures_of,
    print_rates,
    rows_of,
    settings_of,
)
from scripts.benchmark.handle_calls import CallRound, HandleCalls
from scripts.benchmark.mixed import quantiles_ms
from scripts.benchmark.own_config import with_backend, with_one_replica
from scripts.benchmark.processor_time import between, used_s
from scripts.benchmark.workbench import Workbench, workbench
from scripts.console import log
from scripts.measurement.report import Figure
from serve_app.encoder import FashionClipEncoder, choose_device

LEAST_RATIO = 0.85  # issue 6, "Must show"
LEAST_COSINE = 0.999
SINGLES, BATCHED = 64, 256  # prompts of a round
WARM_UP_S = 2.0
REPLICA = "TextEmbedder"


@dataclass(frozen=True)
class Pair:
    """One round of callers, the bare round beside it, and core milliseconds a prompt by part."""

    bare: BareRound
    calls: CallRound
    core_ms: dict[str, float]

    @property
    def ratio(self) -> float:
        return self.calls.rate / self.bare.rate


@dataclass(frozen=True)
class Options:
    """``seconds``: of each round of callers; ``backend`` and ``device``: of the replica and of the bare
    encoder; None: the config's."""

    backend: str
    device: str | None
    threads: Sequence[int]
    callers: Sequence[int]
    seconds: float
    rounds: int


def measure(directory: Path, model: str | None, config: Path, options: Options) -> tuple[list[Figure], Any]:
    """The figures, and all that they come from. Prints tables."""
    if options.device is not None:
        choose_device(options.device)
    chosen = with_backend(config, options.backend, directory / "backend.yaml", options.device)
    own_config, batch = with_one_replica(chosen, REPLICA, directory / "config.yaml")
    with workbench(directory, model, own_config) as bench:
        bench.wait_until_quiet()
        args = bench.args.text_embedder
        items = {size: SINGLES if size == 1 else BATCHED for size in BATCHES}
        rates = encoder_rates(bench.checkpoint, settings_of(args, options.threads), items, options.rounds)
        print_rates(rates, "prompts")
        pairs = _through_handle(bench, args, batch, options)
        kept = [one for own in pairs.values() for pair in own for one in pair.calls.kept]
        cosine = least_cosine(bench.checkpoint, args, kept)
    _print(pairs, batch)
    figures = [
        *figures_of(rates, "prompts"),
        *(one for callers, own in pairs.items() for one in _figures(callers, own, fullest(callers, batch))),
        Figure(f"least cosine of {len(kept)} vectors to the bare encoder's", cosine, LEAST_COSINE),
    ]
    return figures, {"bare": rows_of(rates), "replica": _details(pairs, batch)}


def least_cosine(checkpoint: Path, args: EmbedderArgs, kept: Sequence[tuple[str, Sequence[float]]]) -> float:
    """Of the vectors of these prompts and those that the encoder makes of each alone."""
    encoder = FashionClipEncoder.load(
        checkpoint, towers=["text"], device=args.device, dtype=args.dtype, backend=args.backend
    )
    return min(float(encoder.encode_texts([prompt])[0] @ np.array(vector)) for prompt, vector in kept)


def fullest(callers: int, batch: int) -> int:
    """The most prompts that one batch can have: each caller waits for its answer."""
    return min(callers, batch)


def _through_handle(
    bench: Workbench, args: EmbedderArgs, batch: int, options: Options
) -> dict[int, list[Pair]]:
    pairs: dict[int, list[Pair]] = {callers: [] for callers in options.callers}
    with BareModel(bench.checkpoint, args) as bare, HandleCalls(bench.data.path) as calls:
        bare.measure(batch, batch)
        calls.measure(max(options.callers), WARM_UP_S, seed=0)
        for number in range(options.rounds):
            for callers, own in pairs.items():
                sizes = callers, fullest(callers, batch)
                own.append(_pair(bench, bare, calls, sizes, options.seconds, len(own) + 1))
            words = (f"{callers}: {own[-1].ratio:.2f}" for callers, own in pairs.items())
            log.print(f"round {number + 1}, callers and ratio: {', '.join(words)}")
    return pairs


def _pair(
    bench: Workbench,
    bare: BareModel,
    calls: HandleCalls,
    sizes: tuple[int, int],
    seconds: float,
    seed: int,
) -> Pair:
    callers, batch = sizes
    alone = bare.measure(max(BATCHED, round(seconds * BATCHED)), batch)
    before = used_s(bench.data, bench.pid)
    found = calls.measure(callers, seconds, 1000 * seed + callers)
    used = between(before, used_s(bench.data, bench.pid))
    count = len(found.times_s)
    parts = {part: 1000 * own_s / count for part, own_s in used.items()}
    return Pair(alone, found, parts | {"the caller": found.core_ms})


def _figures(callers: int, pairs: Sequence[Pair], batch: int) -> list[Figure]:
    rate = statistics.median(pair.calls.rate for pair in pairs)
    ratio = statistics.median(pair.ratio for pair in pairs)
    return [
        Figure(f"{callers} callers of the replica: prompts/s", rate),
        Figure(f"{callers} callers: rate over the bare encoder's, batches of {batch}", ratio, LEAST_RATIO),
    ]


def _details(pairs: dict[int, list[Pair]], batch: int) -> dict[str, Any]:
    return {
        str(callers): {
            "batch": fullest(callers, batch),
            "rate": [pair.calls.rate for pair in own],
            "bare_rate": [pair.bare.rate for pair in own],
            "ratio": [pair.ratio for pair in own],
            "times_ms": quantiles_ms([one for pair in own for one in pair.calls.times_s]),
            "core_ms": _core_ms(own) | {"the bare encoder": own[-1].bare.core_ms},
        }
        for callers, own in pairs.items()
    }


def _core_ms(pairs: Sequence[Pair]) -> dict[str, float]:
    parts = sorted({part for pair in pairs for part in pair.core_ms})
    return {part: statistics.median(pair.core_ms.get(part, 0.0) for pair in pairs) for part in parts}


def _print(pairs: dict[int, list[Pair]], batch: int) -> None:
    table = Table(
        *("callers", "prompts/s", "bare, in batches of", "prompts/s", "ratio", "p50 ms", "p99 ms"),
        title="The replica through its handle",
    )
    for callers, own in pairs.items():
        rates = (
            statistics.median(found)
            for found in ([pair.calls.rate for pair in own], [pair.bare.rate for pair in own])
        )
        ratio = statistics.median(pair.ratio for pair in own)
        times = quantiles_ms([one for pair in own for one in pair.calls.times_s])
        called, alone = (f"{one:.1f}" for one in rates)
        size = str(fullest(callers, batch))
        row = called, size, alone, f"{ratio:.3f}", f"{times['p50']:.1f}", f"{times['p99']:.1f}"
        table.add_row(str(callers), *row)
    log.print(table)
    table = Table("part", *(f"{callers} callers" for callers in pairs), title="Core ms per prompt")
    found = [_core_ms(own) for own in pairs.values()]
    for part in found[0]:
        table.add_row(part, *(f"{own.get(part, 0.0):.2f}" for own in found))
    log.print(table)
