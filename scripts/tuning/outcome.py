"""What a run found, and what it says of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from scripts.measurement.report import Figure
from scripts.tuning.descent import Best, Setting, Trial
from scripts.tuning.highest_rate import Held, Probe


@dataclass(frozen=True)
class Verified:
    """``rounds``: the highest rates of the config one began with and of the tuned one, in turns; the second
    is missing where nothing was better."""

    rounds: list[list[Held]]

    def rate(self, place: int) -> float:
        """The lowest of the rounds: what held each time; 0 where none did."""
        return min((turn[place].rate or 0.0 for turn in self.rounds), default=0.0)

    def gain(self) -> float:
        """The tuned config's rate over the other's: the median of the rounds' ratios."""
        pairs = [turn for turn in self.rounds if len(turn) > 1]
        return statistics.median([_over(*turn) for turn in pairs]) if pairs else 1.0


@dataclass
class Outcome:
    """``first``: of the config that one began with; ``noise``: by how much its rate differed when measured
    again; ``tuned``: the setting that is written."""

    slo_ms: float
    start: Setting
    first: Held
    noise: float = 0.0
    trials: list[Trial] = field(default_factory=list)
    best: Best | None = None
    verified: Verified = field(default_factory=lambda: Verified([]))
    adopted: bool = False
    lines: list[str] = field(default_factory=list)

    @property
    def tuned(self) -> Setting:
        return self.best.setting if self.adopted and self.best is not None else self.start

    @property
    def rate(self) -> float:
        """Of the setting that is written: the lowest of all times that it was looked for."""
        if self.adopted:
            return self.verified.rate(1)
        rates = [self.first.rate, *(turn[0].rate for turn in self.verified.rounds)]
        return min(rate or 0.0 for rate in rates)

    def least_asked(self) -> Probe:
        """The probe at the lowest rate: what the machine reaches at best."""
        probes = [
            *self.first.probes,
            *(one for turn in self.verified.rounds for held in turn for one in held.probes),
        ]
        return min(probes, key=lambda one: (one.rate, one.p99_ms))

    def figures(self) -> list[Figure]:
        p99 = f"within {self.slo_ms:g} ms (p99)"
        figures = [Figure(f"requests/s {p99}, at first", self.first.rate or 0.0)]
        if self.verified.rounds:
            figures.append(Figure(f"requests/s {p99}, the same at last", self.verified.rate(0)))
        if any(len(turn) > 1 for turn in self.verified.rounds):
            figures.append(Figure(f"requests/s {p99}, the best that was tried", self.verified.rate(1)))
            figures.append(Figure("the best over the config at first, in turns", self.verified.gain()))
        return [*figures, Figure(f"requests/s {p99}, as written", self.rate)]

    def details(self) -> dict[str, Any]:
        """As JSON has them."""
        return {
            "start": dict(self.start),
            "tuned": dict(self.tuned),
            "noise": self.noise,
            "first": _held(self.first),
            "tried": [asdict(one) | {"probes": _probes(one.probes), "said": str(one)} for one in self.trials],
            "verified": [[_held(one) for one in turn] for turn in self.verified.rounds],
            "said": self.lines,
        }


def table_of(outcome: Outcome) -> Table:
    """Everything that was tried in the service."""
    table = Table("what", "value", "rates asked: p99 ms", "holds", title="Tried in the running service")
    table.add_row("the config as it was", "", _cells(outcome.first.probes), _rate(outcome.first.rate))
    for one in outcome.trials:
        value = f"{one.former:g} → {one.value:g}"
        table.add_row(one.knob, value, one.error or _cells(one.probes), _rate(one.held))
    for number, turn in enumerate(outcome.verified.rounds, 1):
        for name, held in zip(("the config as it was", "the best"), turn, strict=False):
            table.add_row(f"in turns, round {number}", name, _cells(held.probes), _rate(held.rate))
    return table


def _cells(probes: Sequence[Probe]) -> str:
    return ", ".join(
        f"{one.rate:.0f}/s: {one.p99_ms:.0f}" if math.isfinite(one.p99_ms) else f"{one.rate:.0f}/s: failed"
        for one in probes
    )


def _rate(rate: float | None) -> str:
    return "no more" if rate is None else f"{rate:.0f}/s"


def _over(former: Held, tuned: Held) -> float:
    return (tuned.rate or 0.0) / former.rate if former.rate else 1.0


def _held(held: Held) -> dict[str, Any]:
    return {"rate": held.rate, "probes": _probes(held.probes)}


def _probes(probes: Sequence[Probe]) -> list[dict[str, Any]]:
    """JSON knows no infinity."""
    return [
        {name: value if math.isfinite(value) else None for name, value in asdict(one).items()}
        for one in probes
    ]
