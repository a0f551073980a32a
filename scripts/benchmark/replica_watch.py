"""How many replicas a deployment of the running service has, from moment to moment.

    python -m scripts.benchmark.replica_watch DATA_DIRECTORY DEPLOYMENT

A process that joins the running service. Each line of standard input is answered with the replicas by state.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Self

from models.errors import ConfigurationError
from scripts.benchmark.line_process import LineProcess, answer_lines
from scripts.join_service import APP_NAME, join_service

POLL_S = 0.5
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Replicas:
    """At one moment, by ``perf_counter``: those that answer, on their way in, and on their way out."""

    moment_s: float
    running: int
    starting: int
    stopping: int


class ReplicaWatch(LineProcess):
    """The process, as this one sees it; from ``with`` on a thread notes its answers in ``seen``."""

    def __init__(self, data_directory: Path, deployment: str) -> None:
        super().__init__("scripts.benchmark.replica_watch", str(data_directory), deployment)
        self.seen: list[Replicas] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._note()  # it has joined then
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        super().__exit__()

    def wait_for(self, running: int) -> None:
        """Until so many run, and none is on its way. Raises ConfigurationError where that takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while (now := self.seen[-1]).running != running or now.starting or now.stopping:
            if time.monotonic() > deadline:
                raise ConfigurationError(f"There were not {running} replicas alone after {PATIENCE_S:g} s.")
            time.sleep(POLL_S)

    def _look(self) -> None:
        while not self._ended.wait(POLL_S):
            self._note()

    def _note(self) -> None:
        counts = self.ask("replicas")
        running, stopping = counts.get("RUNNING", 0), counts.get("STOPPING", 0)
        self.seen.append(
            Replicas(time.perf_counter(), running, sum(counts.values()) - running - stopping, stopping)
        )


def steps_of(seen: Sequence[Replicas]) -> list[int]:
    """The numbers of running replicas in turn, each as long as it stayed once."""
    return [count for count, _ in groupby(one.running for one in seen)]


def rose_and_fell(steps: Sequence[int], replicas: int) -> bool:
    """From one to ``replicas``, and back to one; on the way they may follow a load that wavers."""
    return bool(steps) and steps[0] == steps[-1] == min(steps) == 1 and max(steps) == replicas


def serve(data_directory: Path, deployment: str) -> None:
    """Answer until standard input ends."""
    join_service(data_directory)  # before Serve is imported: it sets variables that count then
    from ray import serve

    def answer(_: list[str]) -> dict[str, int]:
        states = serve.status().applications[APP_NAME].deployments[deployment].replica_states
        return {str(getattr(state, "value", state)): count for state, count in states.items()}

    answer_lines(answer)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
