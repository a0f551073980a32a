"""Processor time by part of a running service: what each process used, from /proc."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

import psutil

from scripts.benchmark.service_processes import part_of, processes
from serve_app.data_directory import DataDirectory


def used_s(data: DataDirectory, launcher_pid: int) -> dict[int, tuple[str, float]]:
    """By process: its part of the service, and the seconds of processor time it used until now."""
    found: dict[int, tuple[str, float]] = {}
    for process in processes(data, launcher_pid):
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = part_of(process), times.user + times.system
    return found


def between(before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]) -> dict[str, float]:
    """Seconds by part; a process that began in between counts whole, one that ended is lost."""
    total: defaultdict[str, float] = defaultdict(float)
    for pid, (part, seconds) in after.items():
        total[part] += seconds - before.get(pid, ("", 0.0))[1]
    return dict(total)
