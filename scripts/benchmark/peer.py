"""The monolith as a process that the benchmark starts and ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from models.errors import ConfigurationError
from scripts.benchmark.http_load import Target
from scripts.measurement.clustered import Array
from serve_app.local_environment import free_ports

START_TIMEOUT_S = 180.0
POLL_S = 0.5


@contextmanager
def monolith(directory: Path, checkpoint: Path, photos: Array) -> Iterator[Target]:
    """Serves ``photos`` (n, d), numbered from 0, in ``directory``."""
    directory.mkdir()
    vectors = directory / "vectors.npy"
    np.save(vectors, photos)
    (port,) = free_ports(1)
    words = [str(checkpoint), str(vectors), str(directory / "chroma"), str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.benchmark.monolith", *words], stdout=subprocess.DEVNULL
    )
    try:
        target = Target(f"http://127.0.0.1:{port}/recommend", {}, lambda prompt: {"prompt": prompt})
        _wait(target, process)
        yield target
    finally:
        process.terminate()
        process.wait()


def _wait(target: Target, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.post(target.url, json=target.body("a dress"), timeout=30).raise_for_status()
        except httpx.HTTPError:
            time.sleep(POLL_S)
        else:
            return
    raise ConfigurationError("The monolith peer did not start; its message is above.")
