"""Prompts sent straight to the TextEmbedder's replica, through its Serve handle, as the Ingress sends them.

    python -m scripts.benchmark.handle_calls DATA_DIRECTORY

A process that joins the running service. Each line of standard input is a number of callers, seconds, and a
seed for the prompts; the callers share one event loop, and each asks as soon as it has its vector.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.benchmark.line_process import LineProcess, write_answer
from scripts.benchmark.prompts import distinct_prompts

if TYPE_CHECKING:
    from serve_app.handles import TextEmbedderHandle

KEEP_EVERY = 50


@dataclass(frozen=True, slots=True)
class CallRound:
    """``rate``: vectors a second; ``times_s``: of each call; ``core_ms``: the caller's own, of one call.

    ``kept``: some prompts with their vectors.
    """

    rate: float
    core_ms: float
    times_s: list[float]
    kept: list[tuple[str, list[float]]]


class HandleCalls(LineProcess):
    """The process, as this one sees it."""

    def __init__(self, data_directory: Path) -> None:
        super().__init__("scripts.benchmark.handle_calls", str(data_directory))

    def measure(self, callers: int, seconds: float, seed: int) -> CallRound:
        return CallRound(**self.ask(callers, seconds, seed))


async def serve(data_directory: Path) -> None:
    """Answer rounds until standard input ends: all on one event loop, since a handle knows no other."""
    from scripts.join_service import APP_NAME, join_service

    join_service(
        data_directory, on_own_loop=True
    )  # before Ray is imported: it sets variables that count then
    from ray import serve

    live = await serve.get_deployment_handle("Indexer", APP_NAME).live.remote()
    embedder = live.texts()
    while line := await asyncio.to_thread(sys.stdin.readline):
        callers, seconds, seed = line.split()
        write_answer(await _round(embedder, int(callers), float(seconds), int(seed)))


async def _round(embedder: TextEmbedderHandle, callers: int, seconds: float, seed: int) -> dict[str, Any]:
    prompts, times_s, kept = distinct_prompts(seed), list[float](), list[tuple[str, list[float]]]()
    started, started_cpu = time.perf_counter(), time.process_time()

    async def caller() -> None:
        while (began := time.perf_counter()) < started + seconds:
            prompt = next(prompts)
            found = await embedder.embed(prompt)
            times_s.append(time.perf_counter() - began)
            if len(times_s) % KEEP_EVERY == 0:
                kept.append((prompt, found.vector.tolist()))

    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    count = len(times_s)
    return {"rate": count / elapsed_s, "core_ms": 1000 * cpu_s / count, "times_s": times_s, "kept": kept}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
