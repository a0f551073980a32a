"""Another config for the running service, through Serve: what need not restart goes on.

    python -m scripts.tuning.redeploy DATA_DIRECTORY

A process that joins the running service. Each line of standard input is a file with a Serve config, as JSON;
each answer says how long it took until the service answered with it, or why it does not.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import ConfigurationError
from scripts.benchmark.line_process import LineProcess, answer_lines

if TYPE_CHECKING:
    from ray.serve.schema import ServeDeploySchema

    from serve_app.local_cluster import LocalCluster

TIMEOUT_S = 90.0
POLL_S = 0.2
CERTAIN = 3  # answers of /readyz in a row: the proxy may know former replicas for a moment


class Redeploy(LineProcess):
    """The process, as this one sees it."""

    def __init__(self, data_directory: Path) -> None:
        super().__init__("scripts.tuning.redeploy", str(data_directory))

    def deploy(self, schema: Path) -> float:
        """Seconds that it took. Raises ConfigurationError where the service does not start so."""
        answer = self.ask(schema)
        if answer["error"]:
            raise ConfigurationError(answer["error"])
        return float(answer["seconds"])


def serve(data_directory: Path) -> None:
    """Answer until standard input ends."""
    from scripts.join_service import join_service

    join_service(data_directory)  # before Serve is imported: it sets variables that count then
    from ray.serve.schema import ServeDeploySchema

    from serve_app.data_directory import DataDirectory
    from serve_app.local_cluster import LocalCluster

    data = DataDirectory(data_directory)
    running = data.running()
    if running is None:
        raise ConfigurationError(f"No service runs on {data.path}.")
    url, cluster = running.url, LocalCluster(data.path, data.logs)

    def answer(words: list[str]) -> dict[str, object]:
        schema = ServeDeploySchema.model_validate(json.loads(Path(words[0]).read_text("utf-8")))
        started = time.monotonic()
        try:
            _deploy(cluster, schema, url)
        except ConfigurationError as error:
            return {"seconds": 0.0, "error": error.message}
        return {"seconds": time.monotonic() - started, "error": ""}

    answer_lines(answer)


def _deploy(cluster: LocalCluster, schema: ServeDeploySchema, url: str) -> None:
    """Returns when all replicas are as ``schema`` has them. Raises ConfigurationError."""
    from ray import serve

    name = schema.applications[0].name
    cluster.deploy(schema)
    deadline = time.monotonic() + TIMEOUT_S
    while not _runs(serve.status().applications.get(name)):
        cluster.raise_if_failed(name)
        if time.monotonic() > deadline:
            raise ConfigurationError(f"its replicas were not all there after {TIMEOUT_S:g} s")
        time.sleep(POLL_S)
    for _ in range(CERTAIN):
        cluster.wait_until_ready(name, url, TIMEOUT_S, lambda: None)
        time.sleep(POLL_S)


def _runs(application: object) -> bool:
    return str(getattr(getattr(application, "status", None), "value", "")) == "RUNNING"


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
