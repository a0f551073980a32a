"""Asks ``/readyz`` and a question in turns, by the front door, while parts of the service come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Self

import httpx

from tests.drawings import garment
from tests.shop_client import ShopClient
from tests.stack import Stack

PAUSE_S = 0.1
PATIENCE_S = 60.0


class ReadinessWatch:
    """For the length of a block. ``faults``: questions that failed though ``/readyz`` had just said 200."""

    def __init__(self, stack: Stack) -> None:
        self.faults: list[str] = []
        self.answered = 0
        self.missing: set[str] = set()  # parts that a 503 named
        self._stack, self._shop = stack, _shop_with_a_photo(stack)
        self._turn, self._stop = threading.Lock(), threading.Event()
        self._numbers = count()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def between_turns(self) -> Iterator[None]:
        """Nothing goes away between an answer of ``/readyz`` and the question after it."""
        with self._turn:
            yield

    @contextmanager
    def named(self, part: str) -> Iterator[None]:
        """The block takes that part away; ends once a 503 has named it. ``answered`` counts from then on."""
        with self._turn:
            yield
            self.missing.clear()
        self.wait_for(lambda: part in self.missing, f"/readyz names {part}, which is gone")
        self.answered = 0

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, (what, self.faults)
            time.sleep(PAUSE_S)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            with self._turn:
                try:
                    self._once()
                except (AssertionError, httpx.HTTPError) as error:
                    self.faults.append(repr(error))

    def _once(self) -> None:
        ready = self._stack.http.get("/readyz")
        if ready.status_code != 200:
            checks = ready.json()["checks"]
            self.missing |= {part for part, state in checks.items() if state != "ok"}
            return
        # Another one each time: an Ingress remembers the vectors of prompts.
        assert self._shop.recommendations(f"a red dress, the {next(self._numbers)}th"), "no photo is found"
        self.answered += 1


def _shop_with_a_photo(stack: Stack) -> ShopClient:
    shop = stack.new_shop()
    shop.add(garment("dress", "red"), wait_s=30)
    return shop
