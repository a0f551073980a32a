"""How the tuner searches, on machines whose best config is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigurationError
from scripts.tuning.descent import Best, Descent, Knob, Setting, Trial, Value, in_turns
from scripts.tuning.highest_rate import LEAST_RATE, STEP, TOLERANCE, Held, Probe, highest_rate
from scripts.tuning.outcome import Verified

SLO_MS = 100.0
RATES = st.floats(LEAST_RATE, 5000)


@dataclass
class Synthetic:
    """A machine whose p99 grows with the rate, and passes the limit at ``capacity`` of its setting."""

    capacity: Callable[[Setting], float]
    noise: float = 0.0
    unstartable: Setting = field(default_factory=dict)
    setting: Setting = field(default_factory=dict)
    applied: list[Setting] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(0)

    def apply(self, setting: Setting) -> None:
        if self.unstartable and self.unstartable.items() <= setting.items():
            raise ConfigurationError("no room")
        self.setting = setting
        self.applied.append(setting)

    def probe(self, rate: float) -> Probe:
        self.asked += 1
        now = self.capacity(self.setting) * math.exp(self.noise * self._random.uniform(-1, 1))
        return Probe(rate, 1.0, SLO_MS * (rate / now) ** 3, 100)


def descent(machine: Synthetic, margin: float = TOLERANCE, tries: int = 1000) -> Descent:
    return Descent(
        machine,
        SLO_MS,
        margin,
        allowed=lambda setting: setting.get("replicas", 1) * setting.get("threads", 1) <= 4,
        affordable=lambda _: machine.asked < tries,
        told=lambda _: None,
    )


def known(machine: Synthetic, setting: Setting) -> Best:
    machine.apply(setting)
    rate = highest_rate(machine.probe, SLO_MS, 50).rate
    assert rate is not None
    return Best(setting, rate)


@given(capacity=RATES, start=st.floats(0.1, 20_000))
def test_the_found_rate_holds_and_the_true_one_is_at_most_the_tolerance_above(
    capacity: float, start: float
) -> None:
    machine = Synthetic(lambda _: capacity)
    found = highest_rate(machine.probe, SLO_MS, start)
    assert found.rate is not None
    assert found.rate <= capacity * 1.000001
    assert capacity / found.rate <= TOLERANCE * 1.000001
    assert machine.asked == len(found.probes) <= 30


@given(capacity=st.floats(0.01, LEAST_RATE * 0.99), start=RATES)
def test_where_not_even_the_least_rate_holds_it_was_asked_at_last(capacity: float, start: float) -> None:
    found = highest_rate(Synthetic(lambda _: capacity).probe, SLO_MS, start)
    assert found.rate is None
    assert found.probes[-1].rate == LEAST_RATE


def test_a_known_rate_is_not_asked_again() -> None:
    found = highest_rate(Synthetic(lambda _: 130).probe, SLO_MS, 100, step=1.1, known=True)
    assert [round(one.rate) for one in found.probes] == [110, 121, 133]
    assert found.rate is not None
    assert round(found.rate) == 121


def test_without_time_it_ends_with_what_is_known() -> None:
    found = highest_rate(Synthetic(lambda _: 1000).probe, SLO_MS, 100, stop=lambda: True)
    assert (found.rate, len(found.probes)) == (100, 1)
    again = highest_rate(Synthetic(lambda _: 1000).probe, SLO_MS, 100, known=True, stop=lambda: True)
    assert (again.rate, again.probes) == (100, [])


LEVELS = (1, 2, 4, 8)
GAIN = STEP  # of each step towards the best value


@given(
    best=st.tuples(*[st.sampled_from(LEVELS)] * 3),
    start=st.tuples(*[st.sampled_from(LEVELS)] * 3),
)
def test_it_climbs_to_the_best_of_independent_knobs(best: Sequence[int], start: Sequence[int]) -> None:
    names = "a", "b", "c"
    tops = dict(zip(names, best, strict=True))

    def capacity(setting: Setting) -> float:
        away = sum(abs(math.log2(setting[name] / top)) for name, top in tops.items())
        return 400 / GAIN**away

    machine = Synthetic(capacity)
    own = descent(machine)
    found = own.run(
        [Knob(name, LEVELS) for name in names],
        known(machine, dict(zip(names, start, strict=True))),
    )
    assert found.setting == tops
    assert found.rate <= 400.001


def test_noise_that_passes_the_margin_now_and_then_chooses_nothing() -> None:
    held_once = 0
    for seed in range(20):
        machine = Synthetic(lambda _: 100, noise=0.11)
        machine._random = np.random.default_rng(seed)
        own = descent(machine)
        start = Best({"a": 2, "b": 2}, 100)
        assert own.run([Knob("a", LEVELS), Knob("b", LEVELS)], start) is start
        assert len(own.trials) == 4
        held_once += sum(trial.probes[0].holds(SLO_MS) for trial in own.trials)
    assert held_once


def test_a_gain_below_the_margin_is_not_worth_a_change() -> None:
    machine = Synthetic(lambda setting: 100 * (1.05 if setting["a"] == 4 else 1))
    assert descent(machine).run([Knob("a", LEVELS)], Best({"a": 2}, 100)).setting == {"a": 2}


def test_what_has_no_room_is_never_applied_and_what_does_not_start_is_told() -> None:
    machine = Synthetic(lambda setting: 100 * setting["replicas"], unstartable={"replicas": 2, "threads": 2})
    own = descent(machine)
    knobs = [Knob("replicas", (1, 2, 4)), Knob("threads", (1, 2, 4))]
    found = own.run(knobs, Best({"replicas": 1, "threads": 2}, 100))
    assert all(one["replicas"] * one["threads"] <= 4 for one in machine.applied)
    assert "does not start (no room)" in str(own.trials[0])
    assert found.setting == {"replicas": 1, "threads": 2} or found.setting["threads"] == 1


def test_it_ends_when_the_time_does() -> None:
    machine = Synthetic(lambda setting: 100 * setting["a"])
    own = descent(machine, tries=3)
    own.run([Knob("a", tuple(2**n for n in range(30)))], Best({"a": 1}, 100))
    assert own.left_out
    assert machine.asked < 10


def test_the_verification_takes_turns() -> None:
    machine = Synthetic(lambda setting: 100 * setting["a"])
    bests = [Best({"a": 1}, 100), Best({"a": 2}, 190)]
    rounds = in_turns(machine, SLO_MS, bests, lambda done: done < 2)
    assert [one["a"] for one in machine.applied] == [2, 1, 1, 2]
    verified = Verified(rounds)
    assert 90 < verified.rate(0) <= 100
    assert 180 < verified.rate(1) <= 200
    assert 1.8 < verified.gain() < 2.2


def test_the_verified_rate_is_the_one_that_held_each_time() -> None:
    rounds = [[Held(50, []), Held(80, [])], [Held(60, []), Held(None, [])], [Held(50, []), Held(70, [])]]
    verified = Verified(rounds)
    assert (verified.rate(0), verified.rate(1), verified.gain()) == (50, 0, 1.4)


def test_each_trial_is_a_plain_line() -> None:
    fast = Trial("calls.text_calls", 4, 8, 50, 60, [Probe(55, 20, 80, 200)])
    slow = Trial("text_embedder.threads", 1, 2, 50, None, [Probe(55, 20, 180.4, 200)])
    lost = Trial("text_embedder.threads", 1, 2, 50, None, [Probe(55, math.inf, math.inf, 1)])
    assert str(fast) == "calls.text_calls 8 instead of 4: holds 60/s, not 50/s. Taken"
    assert str(slow) == "text_embedder.threads 2 instead of 1: not better than 50/s (55/s: p99 180 ms)"
    assert str(lost).endswith("(55/s: requests failed)")


def test_a_knob_knows_the_values_beside_any_other() -> None:
    knob = Knob("a", (1, 2, 4))
    beside: Mapping[Value, tuple[Value | None, Value | None]] = {
        1: (None, 2),
        2: (1, 4),
        3: (2, 4),
        4: (2, None),
        9: (4, None),
    }
    assert {value: (knob.beside(value, -1), knob.beside(value, 1)) for value in beside} == beside
