"""A rate of requests that rises and falls, and random moments at which requests are due by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LOW_S, STEP_S, HIGH_S, FALL_S, LAST_S = 10.0, 40.0, 20.0, 45.0, 25.0


@dataclass(frozen=True)
class Profile:
    """``corners``: (seconds, requests a second); in between the rate changes evenly."""

    corners: Sequence[tuple[float, float]]

    @property
    def seconds(self) -> float:
        return self.corners[-1][0]

    def rate(self, moment_s: float) -> float:
        moments, rates = zip(*self.corners, strict=True)
        return float(np.interp(moment_s, moments, rates))

    def due_s(self, seed: int) -> list[float]:
        """Moments in order, of a Poisson process with this rate (by thinning; Lewis and Shedler, 1979)."""
        random, most = np.random.default_rng(seed), max(rate for _, rate in self.corners)
        found, moment = [], 0.0
        while (moment := moment + float(random.exponential(1 / most))) < self.seconds:
            if random.random() * most < self.rate(moment):
                found.append(moment)
        return found


def up_and_down(low: float, high: float, replicas: int) -> Profile:
    """From ``low`` to ``high``, slowly enough that ``replicas`` can start one after the other, and back, so
    that they stop while others are asked."""
    lengths = LOW_S, STEP_S * (replicas - 1), HIGH_S, FALL_S, LAST_S
    moments = [0.0, *np.cumsum(lengths).tolist()]
    return Profile(list(zip(moments, (low, low, high, high, low, low), strict=True)))
