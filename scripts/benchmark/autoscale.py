"""Load that rises and falls while a deployment goes from one replica to N and back; no request may fail.

Clients ask distinct prompts in an open loop: random moments at a rate that rises slowly, stays, and falls.
Latency counts from the moment a request was due. Serve adds and stops replicas of the TextEmbedder, or of the
Ingress (``--deployment``), by itself, with delays of seconds instead of minutes. Every request is counted,
those under way while a replica stops among them; some answers are compared with the exact ones.

More replicas of the real model would only share this machine's cores. So with ``--towers sleeping``, the
default, each replica sleeps for as long as the model was just measured to compute (float32, padded to 77
tokens), as if it had a core of its own; all else is the service as it is. The rates follow from that: 0.3 of
what one replica can answer, and 0.7 of what N can. ``--towers real`` loads the real model into each
replica, and needs --rates: what is shown then is how replicas come and go, not that they help.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from models.errors import ConfigurationError
from scripts.benchmark.autoscale_config import Autoscaling, write_autoscaling_config
from scripts.benchmark.http_load import Load, Target, closed_loop, timed_load
from scripts.benchmark.load_profile import Profile, up_and_down
from scripts.benchmark.measured_sleeps import measured_sleeps
from scripts.benchmark.mixed import quantiles_ms
from scripts.benchmark.prompted_catalogue import TOP, Judged, judged, prompted_catalogue
from scripts.benchmark.prompts import distinct_prompts
from scripts.benchmark.replica_watch import POLL_S, Replicas, ReplicaWatch, rose_and_fell, steps_of
from scripts.benchmark.sleeping_bench import SLEEPING
from scripts.benchmark.sleeping_encoder import drawn_vectors
from scripts.benchmark.workbench import SERVICE, workbench
from scripts.console import log
from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, make_checkpoint
from scripts.measurement.report import Figure

CATALOGUE = 2_000
LOW_SHARE, HIGH_SHARE = 0.3, 0.7
WARM_UP_CLIENTS, WARM_UP_S = 1, 2.0
WINDOW_S = 5.0
TOLD_FAILURES = 20
SEED = 1


@dataclass(frozen=True)
class Options:
    """``rates``: least and most, a second."""

    sleeping: bool
    scaled: Autoscaling
    rates: tuple[float, float] | None = None


@dataclass(frozen=True)
class Window:
    """The requests that were due in ``WINDOW_S`` seconds from ``start_s`` on, of the run; ``offered``: their
    rate by the profile."""

    start_s: float
    offered: float
    answered: int
    failed: int
    replicas: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Run:
    """All times are seconds of the run."""

    profile: Profile
    due_s: np.ndarray[Any, np.dtype[np.float64]]
    times_s: np.ndarray[Any, np.dtype[np.float64]]
    failures: list[tuple[float, str]]
    seen: list[Replicas]

    @classmethod
    def of(cls, profile: Profile, load: Load, seen: Sequence[Replicas], started_s: float) -> Run:
        """``started_s`` by ``perf_counter``."""
        times_s = np.array(load.times_s)
        return cls(
            profile,
            np.array(load.ended_s) - times_s - started_s,
            times_s,
            [(one.due_s - started_s, one.reason) for one in load.failures],
            [
                replace(one, moment_s=one.moment_s - started_s)
                for one in seen
                if one.moment_s >= started_s - POLL_S
            ],
        )

    def under_way_at_stops(self) -> int:
        """Requests that were under way while the number of replicas fell, and until ``POLL_S`` later."""
        ended_s, found = self.due_s + self.times_s, np.zeros(len(self.due_s), bool)
        for before, after in pairwise(self.seen):
            if after.running < before.running:
                found |= (self.due_s < after.moment_s + POLL_S) & (ended_s > before.moment_s)
        return int(found.sum())

    def windows(self) -> list[Window]:
        starts = np.arange(0.0, self.profile.seconds, WINDOW_S).tolist()
        return [self._window(start) for start in starts]

    def _window(self, start_s: float) -> Window:
        end_s = start_s + WINDOW_S
        own = self.times_s[(self.due_s >= start_s) & (self.due_s < end_s)]
        failed = sum(start_s <= due_s < end_s for due_s, _ in self.failures)
        times = quantiles_ms(own.tolist()) if len(own) else {"p50": None, "p99": None}
        running = [one.running for one in self.seen if one.moment_s < end_s]
        offered = self.profile.rate(start_s + WINDOW_S / 2)
        return Window(start_s, offered, len(own), failed, running[-1], times["p50"], times["p99"])


def measure(directory: Path, model: str | None, options: Options) -> tuple[list[Figure], Any]:
    """The figures, and what each window of the run was. Prints a table."""
    if not options.sleeping and options.rates is None:
        raise ConfigurationError("--towers real needs --rates LOW HIGH, in requests a second.")
    checkpoint = Path(model) if model else make_checkpoint(directory / "checkpoint", FASHION_CLIP_SHAPE)
    embed, launcher, rates, scaled = None, SERVICE, options.rates, options.scaled
    if options.sleeping:
        sleeps = measured_sleeps(checkpoint)
        os.environ.update(sleeps.variable())
        embed, launcher = partial(drawn_vectors, dimension=FASHION_CLIP_SHAPE.dimension), SLEEPING
        log.print(f"The towers sleep: {1000 * sleeps.prompt_s:.1f} ms a prompt, as the model took here.")
        rates = rates or (LOW_SHARE / sleeps.prompt_s, HIGH_SHARE * scaled.replicas / sleeps.prompt_s)
    if rates is None:
        raise AssertionError("given, or measured")
    profile = up_and_down(*rates, scaled.replicas)
    config = write_autoscaling_config(directory / "config.yaml", scaled, sleeping=options.sleeping)
    with workbench(directory, str(checkpoint), config, launcher=launcher) as bench:
        catalogue = prompted_catalogue(bench, CATALOGUE, SEED, embed)
        bench.wait_until_quiet()
        target = Target(
            f"{bench.running.url}/api/recommendations/",
            {"Authorization": f"Bearer {catalogue.shop.key}"},
            lambda prompt: {"prompt": prompt, "number_of_images": TOP},
        )
        run, load = _drive(ReplicaWatch(bench.data.path, scaled.deployment), target, profile)
        answers = judged(bench, catalogue, load.kept, embed)
    windows = run.windows()
    _print(windows, options, rates)
    for due_s, reason in run.failures[:TOLD_FAILURES]:
        log.print(f"failed, due after {due_s:.1f} s: {reason}", markup=False)
    details = {
        "window_s": WINDOW_S,
        "deployment": scaled.deployment,
        "windows": [asdict(one) for one in windows],
        "replicas": [asdict(one) for one in run.seen],
        "failures": run.failures,
    }
    return figures_of(run, scaled.replicas, answers), details


def _drive(watching: ReplicaWatch, target: Target, profile: Profile) -> tuple[Run, Load]:
    asked = distinct_prompts(SEED + 1)
    closed_loop(target, asked, WARM_UP_CLIENTS, WARM_UP_S)
    due_s = profile.due_s(SEED)
    log.print(f"{len(due_s):,} requests within {profile.seconds:g} s ...")
    with watching as watch:
        watch.wait_for(1)
        started_s = time.perf_counter()
        load = timed_load(target, asked, due_s)
    return Run.of(profile, load, watch.seen, started_s), load


def figures_of(run: Run, replicas: int, answers: Judged) -> list[Figure]:
    """What must hold, and the latencies."""
    steps = steps_of(run.seen)
    right = rose_and_fell(steps, replicas)
    log.print(f"Replicas in turn: {' → '.join(map(str, steps))}.")
    whole = quantiles_ms(run.times_s.tolist())
    return [
        Figure("requests", len(run.times_s) + len(run.failures)),
        Figure("failed requests", len(run.failures), most=0),
        Figure(f"replicas went 1 → {replicas} → 1 (1: yes)", float(right), least=1),
        Figure("answered requests under way when replicas stopped", run.under_way_at_stops(), least=1),
        Figure("p50, ms", whole["p50"]),
        Figure("p99, ms", whole["p99"]),
        Figure("slowest, ms", whole["slowest"]),
        Figure("recall@10 of the answers, against exact search", answers.recall, 0.98),
        Figure(f"answers with exact scores in order, of {answers.answers}", answers.right, 1.0),
    ]


def _print(windows: Sequence[Window], options: Options, rates: tuple[float, float]) -> None:
    kind = "sleep" if options.sleeping else "compute"
    name = options.scaled.deployment
    title = f"Replicas of the {name} at {rates[0]:.1f} to {rates[1]:.1f} requests/s; text towers {kind}"
    table = Table("second", "offered/s", "answered", "failed", "replicas", "p50 ms", "p99 ms", title=title)
    for one in windows:
        times = ("" if value is None else f"{value:.0f}" for value in (one.p50_ms, one.p99_ms))
        table.add_row(
            f"{one.start_s:.0f}",
            f"{one.offered:.1f}",
            *map(str, (one.answered, one.failed, one.replicas)),
            *times,
        )
    log.print(table)
