"""Processor time by part of a running service, and its memory: what each process used, from /proc."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from serve_app.data_directory import DataDirectory

REPLICA = "ray::ServeReplica:"
OTHER = "Ray and the rest"


def used_s(data: DataDirectory, launcher_pid: int) -> dict[int, tuple[str, float]]:
    """By process: its part of the service, and the seconds of processor time it used until now."""
    found: dict[int, tuple[str, float]] = {}
    for process in _processes(data, launcher_pid):
        with suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = _part(process), times.user + times.system
    return found


def between(before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]]) -> dict[str, float]:
    """Seconds by part; a process that began in between counts whole, one that ended is lost."""
    total: defaultdict[str, float] = defaultdict(float)
    for pid, (part, seconds) in after.items():
        total[part] += seconds - before.get(pid, ("", 0.0))[1]
    return dict(total)


def _processes(data: DataDirectory, launcher_pid: int) -> Iterator[psutil.Process]:
    launcher = psutil.Process(launcher_pid)
    yield launcher
    yield from launcher.children(recursive=True)
    # PostgreSQL's server is nobody's child here.
    postmaster = Path(data.path, "postgres", "postmaster.pid")
    with suppress(OSError, ValueError, psutil.Error):
        server = psutil.Process(int(postmaster.read_text().splitlines()[0]))
        yield server
        yield from server.children(recursive=True)


def _part(process: psutil.Process) -> str:
    words: list[str] = process.cmdline()
    line = " ".join(words)
    if line.startswith(REPLICA):
        return words[0].removeprefix(REPLICA).split(":")[1].strip()
    if line.startswith("ray::"):
        return "Serve" if "Serve" in line or "Proxy" in line else "workers"
    name = str(process.name())
    if "postgres" in name:
        return "PostgreSQL"
    if "chroma" in line:
        return "Chroma"
    return OTHER
