"""A real Prometheus, where its package is installed."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

PATIENCE_S = 30.0
Ask = Callable[[str], list[Any]]


@contextmanager
def prometheus(metrics_urls: list[str], directory: Path) -> Iterator[Ask]:
    """Scrapes the addresses every second; yields what asks it an expression, once it knows them all."""
    targets = [urlsplit(url).netloc for url in metrics_urls]
    job = {"job_name": "ray", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}
    (directory / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}), "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--web.listen-address={address}",
    ]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--storage.tsdb.path={directory / 'tsdb'}"], stdout=log, stderr=log
        )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10.0) as http:

            def ask(expression: str) -> list[Any]:
                answer = http.get("/api/v1/query", params={"query": expression})
                assert answer.status_code == 200, (expression, answer.text)
                return list(answer.json()["data"]["result"])

            _wait(lambda: len(ask("count_over_time(up[1m]) > 3")) == len(targets))
            yield ask
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if holds():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "Prometheus knows too little"
        time.sleep(0.2)
