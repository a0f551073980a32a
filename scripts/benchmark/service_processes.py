"""The processes of a running service, and the part of it that each one is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from serve_app.data_directory import DataDirectory

REPLICA = "ray::ServeReplica:"
OTHER = "Ray and the rest"


def processes(data: DataDirectory, launcher_pid: int) -> Iterator[psutil.Process]:
    """Those that live at this moment, the launcher among them."""
    launcher = psutil.Process(launcher_pid)
    yield launcher
    yield from launcher.children(recursive=True)
    # PostgreSQL's server is nobody's child here.
    postmaster = Path(data.path, "postgres", "postmaster.pid")
    with suppress(OSError, ValueError, psutil.Error):
        server = psutil.Process(int(postmaster.read_text().splitlines()[0]))
        yield server
        yield from server.children(recursive=True)


def part_of(process: psutil.Process) -> str:
    """A deployment's name, or the part's. Raises psutil.Error where it has ended."""
    words: list[str] = process.cmdline()
    line = " ".join(words)
    if line.startswith(REPLICA):
        return words[0].removeprefix(REPLICA).split(":")[1].split(".")[0].strip()
    if line.startswith("ray::"):
        return "Serve" if "Serve" in line or "Proxy" in line else "workers"
    name = str(process.name())
    if "postgres" in name:
        return "PostgreSQL"
    if "chroma" in line:
        return "Chroma"
    return OTHER
