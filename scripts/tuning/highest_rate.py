"""The highest rate of requests at which a latency limit holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

STEP = 1.4
TOLERANCE = 1.1
LEAST_RATE = 4.0
MOST_RATE = 100_000.0


@dataclass(frozen=True)
class Probe:
    """Requests at ``rate`` a second for a while; latencies are infinite where one was not answered."""

    rate: float
    p50_ms: float
    p99_ms: float
    requests: int

    def holds(self, slo_ms: float) -> bool:
        return self.p99_ms <= slo_ms

    def __str__(self) -> str:
        p99 = f"p99 {self.p99_ms:.0f} ms" if math.isfinite(self.p99_ms) else "requests failed"
        return f"{self.rate:.0f}/s: {p99}"


@dataclass(frozen=True)
class Held:
    """``rate``: the highest that held; None: not even the least did, or there was no time to see."""

    rate: float | None
    probes: list[Probe]


def never() -> bool:
    return False


def highest_rate(
    probe: Callable[[float], Probe],
    slo_ms: float,
    start: float,
    *,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    known: bool = False,
    stop: Callable[[], bool] = never,
) -> Held:
    """Bisection: where the p99 grows with the rate, the true one is at most ``tolerance`` times that found.

    ``start``: a guess; from it, steps of ``step`` lead to a rate that holds and one that does not. With
    ``known``, ``start`` holds and is not probed again. ``stop`` is asked before each further probe.
    """
    probes: list[Probe] = []
    held = start if known else None
    failed: float | None = None
    rate: float | None = min(max(start, LEAST_RATE) * (step if known else 1), MOST_RATE)
    while rate is not None and not ((probes or known) and stop()):
        found = probe(rate)
        probes.append(found)
        if found.holds(slo_ms):
            held = rate
        else:
            failed = rate
        rate = _next(held, failed, len(probes), step, tolerance)
    return Held(held, probes)


def _next(
    held: float | None, failed: float | None, probed: int, step: float, tolerance: float
) -> float | None:
    """None: it is found. Where nothing held yet, the steps down grow with the number ``probed``."""
    if held is None:
        assert failed is not None
        down = step ** (2 ** ((probed - 1) // 2))
        return None if failed <= LEAST_RATE else max(LEAST_RATE, failed / down)
    if failed is None:
        return None if held >= MOST_RATE else min(MOST_RATE, held * step)
    return None if failed / held <= tolerance * (1 + 1e-9) else math.sqrt(held * failed)
