"""What the machine lets this process use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Hardware:
    """``cores``: those that may be used at a time, at least 1."""

    cores: int
    memory_gib: float
    gpus: int

    def __str__(self) -> str:
        gpus = f"{self.gpus} GPU(s)" if self.gpus else "no GPU"
        return f"{self.cores} core(s), {self.memory_gib:.0f} GiB, {gpus}"


def hardware() -> Hardware:
    """Of this machine, or of the container where that has less."""
    import torch

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = quota_cores(_read("cpu.max"))
    total, limit = psutil.virtual_memory().total, _read("memory.max").strip()
    memory = min(total, int(limit)) if limit.isdigit() else total
    cores = allowed if quota is None else min(allowed, quota)
    return Hardware(cores, memory / 2**30, torch.cuda.device_count())


def quota_cores(cpu_max: str) -> int | None:
    """Whole cores, at least 1, of a cgroup's ``cpu.max`` (quota and period in µs); None: no limit."""
    words = cpu_max.split()
    if len(words) != 2 or not words[0].isdigit():
        return None
    return max(1, int(words[0]) // int(words[1]))


def _read(name: str) -> str:
    try:
        return (CGROUP / name).read_text("utf-8")
    except OSError:
        return ""
