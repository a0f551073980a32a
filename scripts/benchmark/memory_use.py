"""Memory by part of a running service, sampled: the largest of each part and of all together."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Self

import psutil

from scripts.benchmark.service_processes import part_of, processes
from serve_app.data_directory import DataDirectory

EVERY_S = 0.5
MB = 10**6
SIZE = re.compile(rb"^(Pss|Pss_Shmem):\s+(\d+) kB$", re.MULTILINE)
INDEX, BUFFERS = "Chroma", "PostgreSQL's shared buffers"
# What stays in memory for the photos, however they came, and up to a size that is configured.
KEPT = frozenset({INDEX, BUFFERS})


class MemoryPeaks(AbstractContextManager["MemoryPeaks"]):
    """In a thread, from entering to leaving.

    Proportional set sizes (PSS): memory that several processes share counts once in all, in equal parts.
    ``total``: the highest sum of one sample, ``working``: the same without what is ``KEPT``.
    """

    def __init__(self, data: DataDirectory, launcher_pid: int) -> None:
        self._data, self._pid = data, launcher_pid
        self._over = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self.samples = 0
        self.parts: dict[str, int] = {}
        self.total = self.working = 0

    def note(self, sizes: Mapping[str, int]) -> None:
        """One sample: bytes by part."""
        self.samples += 1
        for part, size in sizes.items():
            self.parts[part] = max(size, self.parts.get(part, 0))
        self.total = max(self.total, sum(sizes.values()))
        self.working = max(self.working, sum(size for part, size in sizes.items() if part not in KEPT))

    def _watch(self) -> None:
        while True:
            self.note(sizes_of(self._data, self._pid))
            if self._over.wait(EVERY_S):
                return

    def __enter__(self) -> Self:
        self._watching = self._thread.submit(self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.shutdown()
        self._watching.result()


def sizes_of(data: DataDirectory, launcher_pid: int) -> dict[str, int]:
    """Bytes by part at this moment."""
    found: defaultdict[str, int] = defaultdict(int)
    for process in processes(data, launcher_pid):
        with suppress(psutil.Error, OSError):
            part = part_of(process)
            pss, shared = pss_bytes(Path(f"/proc/{process.pid}/smaps_rollup").read_bytes())
            buffers = shared if part == "PostgreSQL" else 0
            found[part] += pss - buffers
            found[BUFFERS] += buffers
    return dict(found)


def pss_bytes(rollup: bytes) -> tuple[int, int]:
    """All, and what is shared memory, of the text of ``smaps_rollup``; a process that has ended has none."""
    sizes = {name: int(size) * 1024 for name, size in SIZE.findall(rollup)}
    return sizes.get(b"Pss", 0), sizes.get(b"Pss_Shmem", 0)
