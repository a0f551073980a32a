"""Shoppers who ask all the time, and what they got."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass, field

import httpx

PAUSE_S = 0.1
TIMEOUT_S = 15.0
COLOURS = ("red", "blue", "green", "black", "white")
GARMENTS = ("dress", "shirt", "coat", "skirt", "bag")


@dataclass
class Shoppers:
    """Two threads; each takes a new connection for every prompt, as unrelated clients do."""

    url: str
    key: str
    answered: list[float] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(2)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def failures_since(self, moment: float) -> int:
        return sum(when >= moment for when, _ in self.failed)

    def longest_gap_since(self, moment: float, now: float) -> float:
        """Seconds, from the moment on, in which nobody got an answer."""
        times = [moment, *sorted(when for when in self.answered if when >= moment), now]
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def _ask(self, number: int) -> None:
        for turn in itertools.count():
            if self._ended.is_set():
                return
            prompt = f"a {COLOURS[turn % 5]} {GARMENTS[turn // 5 % 5]} number {turn} of {number}"
            body = {"api_key": self.key, "prompt": prompt, "number_of_images": 3}
            try:
                answer = httpx.post(f"{self.url}/api/recommendations/", json=body, timeout=TIMEOUT_S)
                answer.raise_for_status()
                self.answered.append(time.monotonic())
            except httpx.HTTPStatusError as error:
                self.failed.append((time.monotonic(), str(error.response.status_code)))
            except httpx.HTTPError as error:
                self.failed.append((time.monotonic(), type(error).__name__))
            self._ended.wait(PAUSE_S)
