"""Figures with their limits, and times side by side."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from scripts.console import log

Times = Mapping[str, Sequence[float]]  # seconds of each query, by the kind of query


@dataclass(frozen=True)
class Figure:
    """What was measured; ``least`` or ``most`` is its limit, if it has one."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    def __str__(self) -> str:
        limit = f"  at least {self.least}" if self.least is not None else ""
        limit += f"  at most {self.most}" if self.most is not None else ""
        return f"{self.name}: {self.value:.3f}{limit}{'' if self.met else '  MISSED'}"


def print_times(title: str, times_s: Times, matching: Mapping[str, int]) -> None:
    """Medians in milliseconds, and their ratios to the first row's."""
    table = Table("query", "photos that match", "median ms", "90 % below ms", "ratio", title=title)
    first = statistics.median(next(iter(times_s.values())))
    for name, own in times_s.items():
        median, slow = statistics.median(own), statistics.quantiles(own, n=10)[-1]
        row = f"{matching[name]:,}", f"{median * 1000:.1f}", f"{slow * 1000:.1f}", f"{median / first:.2f}"
        table.add_row(name, *row)
    log.print(table)


def ratios(times_s: Times) -> dict[str, float]:
    """Each median over the first one's."""
    medians = {name: statistics.median(own) for name, own in times_s.items()}
    first = next(iter(medians.values()))
    return {name: median / first for name, median in medians.items()}
