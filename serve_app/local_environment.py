"""The environment in which Ray, Serve and the replicas of one launcher run.

Ray and Serve read these variables when they are imported, so this module imports neither, and is called
first. A variable that is set already wins.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path

from models.errors import ConfigurationError
from serve_app.data_directory import SCRATCH_PREFIX

REPLICA_PORTS = range(20_000, 30_000)
PORTS_PER_LAUNCHER = 100
# Below those that systems give to outgoing connections, which would take a port between choice and use.
SINGLE_PORTS = range(30_000, 32_768)
LONGEST_SCRATCH_ROOT = 9
WORKERS = 8


def set_speed_variables() -> None:
    """HAProxy in front, and no extra threads or hops behind: about three times the request rate."""
    os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
    os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
    os.environ.setdefault(
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", "serve_app.feed_connections:middlewares"
    )
    # Ray starts so many worker processes at a time, and prints a warning where four times as many run. With
    # its own default, the cores, an import on a small machine is enough for that.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(max(os.cpu_count() or 1, WORKERS)))
    # Ray would give every replica the priority of bulk work, 15, and that cannot be raised again.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def scratch_directory() -> Path:
    """A new folder for sockets and logs. A socket's path may have 97 characters, 76 of them Ray's own."""
    root = tempfile.gettempdir()
    if len(root) > LONGEST_SCRATCH_ROOT and os.access("/tmp", os.W_OK):
        root = "/tmp"
    return Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=root))


def set_ray_variables(scratch: Path, data_dir: Path) -> None:
    """Ports and paths of its own for everything that Serve opens, so that two launchers do not meet."""
    haproxy = scratch / "haproxy"
    haproxy.mkdir()
    http_base, grpc_base = _free_blocks(2)
    metrics, stats, fallback_http, fallback_grpc = free_ports(4)
    defaults = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(data_dir / "ray-token"),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http_base),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http_base + PORTS_PER_LAUNCHER - 1),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc_base),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc_base + PORTS_PER_LAUNCHER - 1),
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def require_free(host: str, port: int, option: str = "--port") -> None:
    """Raises ConfigurationError when another program listens there. ``option``: what names the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"Port {port} on {host} cannot be used ({error.strerror}). Stop what listens there, or give "
                f"another one: {option} 8001 (0 picks a free one)."
            ) from None


def free_ports(count: int) -> list[int]:
    """Ports that nothing listened on a moment ago. Raises ConfigurationError when there are too few."""
    with ExitStack() as kept:
        found = list(islice(_bound_ports(kept), count))
    if len(found) < count:
        raise ConfigurationError(
            f"Fewer than {count} free ports between {SINGLE_PORTS.start} and {SINGLE_PORTS.stop}. Stop other "
            "services."
        )
    return found


def _bound_ports(kept: ExitStack) -> Iterator[int]:
    for port in random.sample(SINGLE_PORTS, len(SINGLE_PORTS)):
        one = kept.enter_context(socket.socket())
        with suppress(OSError):
            one.bind(("127.0.0.1", port))
            yield port


def _free_blocks(count: int) -> list[int]:
    """Starts of runs of free ports, chosen at random so that two launchers rarely meet."""
    starts = list(range(REPLICA_PORTS.start, REPLICA_PORTS.stop, PORTS_PER_LAUNCHER))
    random.shuffle(starts)
    free = (start for start in starts if _all_free(range(start, start + PORTS_PER_LAUNCHER)))
    found = list(islice(free, count))
    if len(found) < count:
        raise ConfigurationError(
            f"Fewer than {count} runs of {PORTS_PER_LAUNCHER} free ports between {REPLICA_PORTS.start} and "
            f"{REPLICA_PORTS.stop}. Stop other services, or set RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT and "
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT (and …_GRPC_PORT)."
        )
    return found


def _all_free(ports: Iterable[int]) -> bool:
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return False
    return True
