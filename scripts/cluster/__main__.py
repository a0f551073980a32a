"""Three Ray nodes on one machine: index, ask, lose a worker node, then the head (``make cluster``).

Native PostgreSQL, Chroma, Redis and S3 servers hold the data, configs/cluster.yaml is deployed by ``serve
deploy``, Ray asks for a token, and its head keeps its state in Redis.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import yaml
from rich.table import Table

from configs.settings import environment_names
from models.errors import ConfigurationError
from scripts.cluster.nodes import Cluster
from scripts.cluster.scenario import RETURN_LIMIT_S, Kill, Scenario
from scripts.command import run
from scripts.console import log, out
from scripts.create_shop import create_shop
from scripts.native_servers import NativeServers
from serve_app.local_environment import free_ports

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = PROJECT / "configs" / "cluster.yaml"
READY_LIMIT_S = 240.0
WORKER_CPUS = 2
SERVE_VARIABLES = {
    "RAY_AUTH_MODE": "token",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.feed_connections:middlewares",
    "RAY_worker_maximum_startup_concurrency": "8",
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    "PYTHONUNBUFFERED": "1",
}


def main() -> int:
    """0 where all that must hold held, 1 where not, 2 where the cluster did not start."""
    return run(_parser(), _run)


def _run(arguments: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="fashion-cluster-"))
    with ExitStack() as stack:
        if not arguments.keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        servers = NativeServers(folder / "servers", mail=False)
        stack.callback(servers.stop)
        servers.start()
        port = free_ports(1)[0]
        environment = _environment(servers, f"http://127.0.0.1:{port}")
        cluster = Cluster(environment, servers.redis_port, servers.variables["REDIS_PASSWORD"])
        stack.callback(cluster.stop)
        url = _start(cluster, environment, folder, arguments, port)
        if arguments.serve:
            log.print(f"Ready: {url}. Ctrl-C stops it.")
            signal.pause()
        key = create_shop(
            servers.database_url, environment["SECRET_KEY"], "Cluster shop", "cluster@example.com"
        )
        scenario = Scenario(cluster, url, key, folder / "photos", arguments.photos)
        kills: list[Kill] = []
        for number in range(1, arguments.rounds + 1):
            kills += scenario.round(number, WORKER_CPUS)
            _show(kills)
        verify = [sys.executable, "-m", "scripts.verify"]
        _check(subprocess.run(verify, env=environment, capture_output=True))
        out.print("scripts.verify: the search index equals PostgreSQL")
    return 0 if all(kill.met for kill in kills) else 1


def _start(
    cluster: Cluster, environment: dict[str, str], folder: Path, arguments: argparse.Namespace, port: int
) -> str:
    began = time.monotonic()
    _check(subprocess.run([sys.executable, "-m", "scripts.migrate"], env=environment, capture_output=True))
    cluster.start_head()
    for name in ("worker1", "worker2"):
        cluster.start_worker(name, WORKER_CPUS)
    log.print(f"3 nodes after {time.monotonic() - began:.0f} s; logs: {cluster.logs}", markup=False)
    config = _config(folder / "cluster.yaml", arguments.config, arguments.model, port)
    cluster.deploy(config)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + READY_LIMIT_S
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=5.0)
            last = f"{answer.status_code} {answer.text[:500]}"
            if answer.status_code == 200:
                log.print(f"Ready after {time.monotonic() - began:.0f} s")
                return url
        except httpx.HTTPError as error:
            last = type(error).__name__
        time.sleep(0.5)
    raise ConfigurationError(
        f"The service was not ready after {READY_LIMIT_S:g} s: {last}; see {cluster.logs}."
    )


def _config(path: Path, source: Path, model: str | None, port: int) -> Path:
    """The file with another model and port."""
    document = yaml.safe_load(source.read_text("utf-8"))
    document["http_options"].update(host="127.0.0.1", port=port)
    if model is not None:
        named = str(Path(model).resolve()) if Path(model).is_dir() else model
        document["applications"][0]["args"]["model"] = {"name": named}
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


def _environment(servers: NativeServers, url: str) -> dict[str, str]:
    """Of every node: what docker-compose.yml and the image give it."""
    foreign = environment_names()
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in foreign and not name.startswith(("RAY_", "SERVE_"))
    }
    return {
        **inherited,
        **servers.variables,
        **SERVE_VARIABLES,
        "SECRET_KEY": secrets.token_hex(32),
        "PUBLIC_URL": url,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": str(PROJECT),
    }


def _check(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        raise ConfigurationError(f"{done.args[-1]} failed: {done.stderr.decode(errors='replace')[-1000:]}")


def _show(kills: list[Kill]) -> None:
    table = Table(title="Nodes killed", title_justify="left")
    for heading in ("killed", "pids", "silent", "steady", "control", "failed", "import", "lost"):
        table.add_column(heading, justify="left" if heading == "killed" else "right")
    for kill in kills:
        table.add_row(
            kill.what,
            str(kill.processes),
            f"{kill.away_s:.1f} s",
            f"{kill.steady_s:.1f} s",
            f"{kill.control_s:.0f} s",
            str(kill.failed_requests),
            f"{kill.job_s:.0f} s",
            str(kill.lost_photos),
        )
    out.print(table)
    verdict = "held" if all(kill.met for kill in kills) else "NOT HELD"
    out.print(f"Back within {RETURN_LIMIT_S:g} s, imports finished, no photo lost or doubled: {verdict}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.cluster", description="Three Ray nodes on this machine; nodes are killed."
    )
    parser.add_argument("config", nargs="?", type=Path, default=CONFIG, help="default: configs/cluster.yaml")
    parser.add_argument("--model", help="a hub name or a checkpoint directory, instead of the config's")
    parser.add_argument("--rounds", type=int, default=3, help="both kills, so many times (default: 3)")
    parser.add_argument("--photos", type=int, default=300, help="of each import (default: 300)")
    parser.add_argument("--serve", action="store_true", help="only start it, until Ctrl-C")
    parser.add_argument("--keep", action="store_true", help="keep the servers' folder, to look into it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
