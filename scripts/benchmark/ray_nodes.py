"""Further Ray nodes on this machine, which join a running service, and the replicas that they carry."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import ray
from ray import serve
from ray.serve._private.api import _get_global_client
from ray.serve.schema import ServeDeploySchema, ServeInstanceDetails

from models.errors import ConfigurationError
from scripts.join_service import APP_NAME
from serve_app.local_environment import free_ports

PATIENCE_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.2
OBJECT_STORE_BYTES = 200_000_000


class Nodes:
    """The head is the launcher's. This process has joined its cluster."""

    def __init__(self, address: str, environment: dict[str, str], deployments: Sequence[str]) -> None:
        """``environment``: the head's, in which further nodes start, with as many CPUs. ``deployments``:
        those that each node has a replica of."""
        self._address, self._environment, self._deployments = address, environment, deployments
        self._further: list[subprocess.Popen[bytes]] = []

    def resize(self, count: int) -> None:
        """So many nodes in all, each with its replicas.

        Raises ConfigurationError where that takes too long.
        """
        # One after the other: two that start at once take each other's ports.
        while (known := 1 + len(self._further)) < count:
            self._further.append(_start(self._address, self._environment))
            _until(lambda: _alive() > known, f"{known + 1} Ray nodes")
        self._replicate(count)
        while len(self._further) > count - 1:
            _stop(self._further.pop())
        _until(lambda: _alive() == count, f"{count} Ray nodes")

    def leave(self) -> None:
        """End all but the head, and leave its cluster."""
        while self._further:
            _stop(self._further.pop())
        ray.shutdown()

    def _replicate(self, count: int) -> None:
        """Only the numbers of replicas change, so those that run stay."""
        client = _get_global_client()
        running = ServeInstanceDetails(**client.get_serve_details()).applications[APP_NAME]
        deployed = running.deployed_app_config.model_dump_json(exclude_unset=True)
        application: dict[str, Any] = json.loads(deployed)
        for deployment in application["deployments"]:
            if deployment["name"] in self._deployments:
                deployment["num_replicas"] = count
        client.deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))
        _until(lambda: self._have(count), f"{count} replicas of each deployment")

    def _have(self, count: int) -> bool:
        parts = serve.status().applications[APP_NAME].deployments
        return all(
            parts[name].status == "HEALTHY" and parts[name].replica_states == {"RUNNING": count}
            for name in self._deployments
        )


def _start(address: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    (port,), num_cpus = free_ports(1), int(ray.cluster_resources()["CPU"] / _alive())
    words = ["--address", address, "--num-cpus", str(num_cpus), "--block"]
    words += ["--dashboard-agent-listen-port", str(port), "--object-store-memory", str(OBJECT_STORE_BYTES)]
    return subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "start", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _stop(node: subprocess.Popen[bytes]) -> None:
    """The raylet first: ended so it takes its leave, and Ray reports no crash."""
    try:
        for child in psutil.Process(node.pid).children():
            if child.name() == "raylet":
                child.terminate()
                child.wait(STOP_TIMEOUT_S)
        node.terminate()
        node.wait(STOP_TIMEOUT_S)
    except (psutil.Error, subprocess.TimeoutExpired):
        node.kill()


def _alive() -> int:
    return sum(bool(node["Alive"]) for node in ray.nodes())


def _until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if reached():
            return
        time.sleep(POLL_S)
    raise ConfigurationError(f"There were not {what} after {PATIENCE_S:g} s. Is the machine busy?")
