"""Ray nodes of this machine, started as ``ray start`` starts them on machines of their own.

Each has a raylet, a HAProxy and folders of its own. They share the machine's address, so those ports that
Serve gives every node by number are shared (SO_REUSEPORT) or told apart by variables.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil

from models.errors import ConfigurationError
from serve_app.local_environment import free_ports

MARK = "FASHION_NODE"
PATIENCE_S = 90.0
POLL_S = 0.2
OBJECT_STORE_BYTES = 150_000_000
NAMESPACE = "fashion"  # of the head's state in Redis


class Cluster:
    """A head without CPUs, which keeps its state in Redis, and workers."""

    def __init__(self, environment: Mapping[str, str], redis_port: int, redis_password: str) -> None:
        """``environment``: of every node, with the service's variables."""
        self._environment = dict(environment)
        self._redis_address, self._redis_password = f"127.0.0.1:{redis_port}", redis_password
        self._root = Path(tempfile.mkdtemp(prefix="fc-", dir="/tmp"))
        self._run = secrets.token_hex(4)
        # The head comes back at its former address, as a Kubernetes service or a fixed host name gives it.
        ports = free_ports(5)
        self._port, self._dashboard_port, self.metrics_port = ports[:3]
        self._fallback_ports = ports[3:]
        self._started: dict[str, int] = {}
        self._running: set[str] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self._dashboard_port}"

    @property
    def logs(self) -> Path:
        return self._root

    def start_head(self) -> None:
        """Raises ConfigurationError."""
        words = ["--head", "--num-cpus=0", f"--port={self._port}", "--dashboard-host=127.0.0.1"]
        words += [f"--dashboard-port={self._dashboard_port}", f"--metrics-export-port={self.metrics_port}"]
        words += [f"--redis-password={self._redis_password}"]
        self._start("head", words, RAY_REDIS_ADDRESS=self._redis_address)

    def start_worker(self, name: str, num_cpus: int) -> None:
        """Raises ConfigurationError."""
        self._start(name, [f"--address={self.address}", f"--num-cpus={num_cpus}"])

    def kill(self, name: str) -> int:
        """SIGKILL for all processes of a node at once, as when its machine loses power; returns how many."""
        processes = self._processes(name)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=PATIENCE_S)
        self._running.discard(name)
        return len(processes)

    def stop(self) -> None:
        """End all nodes and remove their folders."""
        for name in list(self._started):
            self.kill(name)
        shutil.rmtree(self._root, ignore_errors=True)

    def client_environment(self) -> dict[str, str]:
        """Of processes that talk to this cluster."""
        return {**self._environment, "RAY_ADDRESS": self.address}

    def deploy(self, config: Path) -> None:
        """``serve deploy``. Raises ConfigurationError where Ray's dashboard does not take the config."""
        command = [sys.executable, "-m", "ray.serve.scripts", "deploy", "--address", self.dashboard_url]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(
                [*command, str(config)], env=self.client_environment(), capture_output=True, text=True
            )
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise ConfigurationError(f"serve deploy failed: {(done.stderr or done.stdout)[-2000:]}")
            time.sleep(1.0)

    def in_control(self) -> bool:
        """Whether the head knows all nodes and says that the application runs."""
        headers = {"Authorization": f"Bearer {self._environment['RAY_AUTH_TOKEN']}"}
        try:
            with httpx.Client(base_url=self.dashboard_url, headers=headers, timeout=5.0) as client:
                nodes = client.get("/api/v0/nodes").raise_for_status().json()["data"]["result"]["result"]
                serve = client.get("/api/serve/applications/").raise_for_status().json()
        except (httpx.HTTPError, ValueError, KeyError):
            return False
        alive = sum(node["state"] == "ALIVE" for node in nodes)
        statuses = [application["status"] for application in serve["applications"].values()]
        return alive == len(self._running) and statuses == ["RUNNING"]

    def _start(self, name: str, words: list[str], **variables: str) -> None:
        # A node that comes back has empty folders, as a new machine has.
        count = self._started[name] = self._started.get(name, 0) + 1
        scratch = self._root / f"{name[0]}{name[-1]}{count}"
        scratch.mkdir()
        agent_port, metrics_port, haproxy_metrics, haproxy_stats = free_ports(4)
        if name != "head":
            words = [*words, f"--metrics-export-port={metrics_port}"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *words]
        command += [
            f"--dashboard-agent-listen-port={agent_port}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
        ]
        command += ["--disable-usage-stats", *([f"--temp-dir={scratch}"] if name == "head" else [])]
        environment = {
            **self._environment,
            **variables,
            **self._ports_of_serve(scratch, haproxy_metrics, haproxy_stats),
            MARK: f"{self._run}-{name}",
            "RAY_external_storage_namespace": NAMESPACE,
        }
        with (self._root / f"{name}-{count}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self._runs(Path(log.name)):
            if process.poll() is not None or time.monotonic() > deadline:
                text = Path(log.name).read_text("utf-8", errors="replace")[-2000:]
                raise ConfigurationError(f"The Ray node {name} did not start: {text}")
            time.sleep(POLL_S)
        self._running.add(name)

    def _ports_of_serve(self, scratch: Path, metrics_port: int, stats_port: int) -> dict[str, str]:
        haproxy = scratch / "haproxy"
        haproxy.mkdir()
        return {
            "SERVE_SOCKET_REUSE_PORT_ENABLED": "1",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(self._fallback_ports[0]),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(self._fallback_ports[1]),
        }

    @staticmethod
    def _runs(log: Path) -> bool:
        return "Ray runtime started." in log.read_text("utf-8", errors="replace")

    def _processes(self, name: str) -> list[psutil.Process]:
        mark = f"{self._run}-{name}"
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get(MARK) == mark:
                    found.append(process)
        return found
