"""Coordinate descent: one knob after the other is moved while that serves a higher rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from models.errors import ConfigurationError
from scripts.tuning.highest_rate import TOLERANCE, Held, Probe, highest_rate

CONFIRMED = 2  # times that a higher rate must hold
Value = int | float
Setting = Mapping[str, Value]  # a value by knob


@dataclass(frozen=True)
class Knob:
    """``values``: ascending."""

    name: str
    values: tuple[Value, ...]

    def beside(self, value: Value, direction: int) -> Value | None:
        """The next larger (1) or smaller (-1) one."""
        others = [one for one in self.values if (one - value) * direction > 0]
        return min(others, key=lambda one: abs(one - value)) if others else None


class Machine(Protocol):
    """What is measured."""

    def apply(self, setting: Setting) -> None:
        """Let the service run so. Raises ConfigurationError where it does not start."""

    def probe(self, rate: float) -> Probe: ...


@dataclass(frozen=True)
class Best:
    """The highest rate that held, and with what."""

    setting: Setting
    rate: float


@dataclass(frozen=True)
class Trial:
    """A knob moved from the best setting of that moment. ``held``: None where no higher rate was held."""

    knob: str
    former: Value
    value: Value
    best_rate: float
    held: float | None
    probes: list[Probe]
    error: str = ""

    def __str__(self) -> str:
        what = f"{self.knob} {self.value:g} instead of {self.former:g}"
        if self.error:
            return f"{what}: does not start ({self.error})"
        if self.held is not None:
            return f"{what}: holds {self.held:.0f}/s, not {self.best_rate:.0f}/s. Taken"
        return f"{what}: not better than {self.best_rate:.0f}/s ({self.probes[-1]})"


@dataclass
class Descent:
    """``margin``: what a higher rate must be of the best one to count, so that noise does not choose.

    ``allowed`` says whether the machine has room for a setting; ``affordable`` whether there is time left to
    try it; ``told`` gets each trial.
    """

    machine: Machine
    slo_ms: float
    margin: float
    allowed: Callable[[Setting], bool]
    affordable: Callable[[Setting], bool]
    told: Callable[[Trial], None]
    trials: list[Trial] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def run(self, knobs: Sequence[Knob], best: Best) -> Best:
        """Passes over all knobs, until one changes nothing. ``left_out``: what it had no time for."""
        seen = {_key(best.setting)}
        while True:
            former, self.left_out = best, []
            for knob in knobs:
                best = self._along(knob, best, seen)
            if best is former:
                return best

    def _along(self, knob: Knob, best: Best, seen: set[frozenset[tuple[str, Value]]]) -> Best:
        start = best
        for direction in (1, -1):
            while (value := knob.beside(best.setting[knob.name], direction)) is not None:
                setting = {**best.setting, knob.name: value}
                if _key(setting) in seen or not self.allowed(setting):
                    break
                if not self.affordable(setting):
                    self.left_out.append(f"{knob.name} {value:g}")
                    break
                seen.add(_key(setting))
                trial = self._try(knob, value, best)
                self.trials.append(trial)
                self.told(trial)
                if trial.held is None:
                    break
                best = Best(setting, trial.held)
            if best is not start:
                break
        return best

    def _try(self, knob: Knob, value: Value, best: Best) -> Trial:
        """It must hold ``margin`` times the best rate, more than once; then it climbs on from there."""
        former, goal = best.setting[knob.name], best.rate * self.margin
        setting = {**best.setting, knob.name: value}
        try:
            self.machine.apply(setting)
        except ConfigurationError as error:
            return Trial(knob.name, former, value, best.rate, None, [], error.message)
        probes: list[Probe] = []
        for _ in range(CONFIRMED):
            probes.append(self.machine.probe(goal))
            if not probes[-1].holds(self.slo_ms):
                return Trial(knob.name, former, value, best.rate, None, probes)
        further = highest_rate(
            *(self.machine.probe, self.slo_ms, goal),
            step=TOLERANCE,
            known=True,
            stop=lambda: not self.affordable(setting),
        )
        return Trial(knob.name, former, value, best.rate, further.rate, probes + further.probes)


def in_turns(
    machine: Machine, slo_ms: float, bests: Sequence[Best], goes_on: Callable[[int], bool]
) -> list[list[Held]]:
    """Rounds in which each setting's highest rate is found again, from the one that is known.

    The first round goes backwards, the next one forwards: what drifts favours none, and changes are few.
    """
    rounds: list[list[Held]] = []
    while goes_on(len(rounds)):
        found: dict[int, Held] = {}
        places = range(len(bests))
        for place in places if len(rounds) % 2 else reversed(places):
            machine.apply(bests[place].setting)
            found[place] = highest_rate(machine.probe, slo_ms, bests[place].rate, step=TOLERANCE)
        rounds.append([found[place] for place in places])
    return rounds


def _key(setting: Setting) -> frozenset[tuple[str, Value]]:
    return frozenset(setting.items())
