"""Ports and paths of one launcher."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import ConfigurationError
from serve_app import local_environment
from serve_app.local_environment import (
    SINGLE_PORTS,
    free_ports,
    require_free,
    scratch_directory,
    set_ray_variables,
    set_speed_variables,
)

SPEED = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED", "RAY_worker_niceness")
WORKERS_AT_A_TIME = "RAY_worker_maximum_startup_concurrency"


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def ray_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


def test_the_speed_variables_are_set_but_an_explicit_value_wins() -> None:
    os.environ[SPEED[0]] = "0"
    set_speed_variables()
    assert [os.environ[name] for name in SPEED] == ["0", "1", "0"]
    assert int(os.environ[WORKERS_AT_A_TIME]) >= 8


def test_two_launchers_share_no_port_and_no_path(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        for variable in ray_variables():
            del os.environ[variable]
        (tmp_path / name).mkdir()
        set_ray_variables(tmp_path / name, tmp_path / f"{name}-data")
        found.append(ray_variables())
    one, two = found
    assert one.keys() == two.keys()
    same = {name for name in one if one[name] == two[name]}
    assert same == {"RAY_AUTH_MODE"}
    ports = [int(value) for value in one.values() if value.isdigit()]
    assert len(set(ports)) == len(ports) == 8


def test_an_explicit_port_wins(tmp_path: Path) -> None:
    os.environ["RAY_SERVE_HAPROXY_METRICS_PORT"] = "9101"
    set_ray_variables(tmp_path, tmp_path)
    assert os.environ["RAY_SERVE_HAPROXY_METRICS_PORT"] == "9101"


def test_a_block_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(local_environment, "REPLICA_PORTS", range(port, port + 100))
        with pytest.raises(ConfigurationError, match="RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"):
            set_ray_variables(tmp_path, tmp_path)


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports[:3]:
        require_free("127.0.0.1", port)


def test_free_ports_are_none_that_an_outgoing_connection_may_get() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if first <= SINGLE_PORTS.start:
        pytest.skip(f"this machine gives outgoing connections the ports {first} to {last}")
    assert max(free_ports(20)) < first


def test_too_few_free_ports_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(local_environment, "SINGLE_PORTS", range(port, port + 1))
        with pytest.raises(ConfigurationError, match="Fewer than 1 free ports"):
            free_ports(1)


def test_a_port_in_use_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"Port {port} .* --port"):
            require_free("127.0.0.1", port)


def test_a_host_that_is_not_here_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"203\.0\.113\.1 cannot be used"):
        require_free("203.0.113.1", 8000)


@pytest.mark.parametrize("length", [3, 60])
def test_the_scratch_directory_leaves_room_for_sockets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int
) -> None:
    root = Path("/tmp") if length == 3 else tmp_path / ("x" * length)
    root.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    scratch = scratch_directory()
    try:
        assert scratch.is_dir()
        socket_path = scratch / "haproxy" / ("f" * 56) / "admin.sock"
        assert len(str(socket_path)) <= 97
    finally:
        scratch.rmdir()
