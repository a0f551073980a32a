"""The time that a run may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Budget:
    """``seconds`` from now on."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def used_s(self) -> float:
        return self.clock() - self._started

    def has(self, seconds: float) -> bool:
        """Whether so much is left."""
        return self.used_s() + seconds <= self.seconds
