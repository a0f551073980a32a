"""Consideration for the servers that are asked: so many requests at a time, pauses, and no second silence."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from weakref import WeakValueDictionary

HOSTS_REMEMBERED = 1024
SILENT_PHOTOS = 8
REST_S = 60.0


class Host:
    """What is known of one host. After ``SILENT_PHOTOS`` silences in a row it rests for ``REST_S``."""

    def __init__(self, at_once: int) -> None:
        self.turns = asyncio.Semaphore(at_once)
        self._not_before_s = 0.0
        self._silences = 0
        self._rests_until_s = 0.0

    @property
    def rests(self) -> bool:
        return time.monotonic() < self._rests_until_s

    def answered(self) -> None:
        self._silences = 0

    def was_silent(self) -> None:
        self._silences += 1
        if self._silences >= SILENT_PHOTOS:
            self._silences = 0
            self._rests_until_s = time.monotonic() + REST_S

    def hold_off(self, pause_s: float) -> None:
        """It asked to be left alone for so long: nobody asks it before."""
        self._not_before_s = max(self._not_before_s, time.monotonic() + pause_s)

    async def wait(self) -> None:
        """Until that is over. At most one pause: what others put off meanwhile is theirs."""
        await asyncio.sleep(max(0.0, self._not_before_s - time.monotonic()))


class Hosts:
    """Hosts by name, those in use and the newest others."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._known: WeakValueDictionary[str, Host] = WeakValueDictionary()
        self._newest: deque[Host] = deque(maxlen=HOSTS_REMEMBERED)

    def of(self, name: str) -> Host:
        host = self._known.get(name)
        if host is None:
            host = self._known[name] = Host(self._at_once)
            self._newest.append(host)
        return host
