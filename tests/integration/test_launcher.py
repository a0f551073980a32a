"""The launcher as a person meets it: mistakes, and a change of mind while it starts."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from serve_app.__main__ import _parser
from tests.drawings import garment
from tests.stack import PROJECT, STOP_LIMIT_S, Stack, nothing_left

LOCAL = PROJECT / "configs" / "local.yaml"
Launch = Callable[..., Stack]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start a launcher; whatever it leaves is killed at the end."""
    started: list[Stack] = []

    def one(*arguments: str, data_dir: Path | None = None, model: str | None = None) -> Stack:
        started.append(Stack.launch(data_dir or tmp_path / "data", *arguments, model=model))
        return started[-1]

    yield one
    for stack in started:
        stack.kill_everything()


def test_a_port_in_use(launch: Launch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = launch("--port", str(port)).assert_refused()
    assert str(port) in line
    assert "--port" in line


def test_a_port_that_cannot_be(launch: Launch) -> None:
    stack = launch("--port=70000")
    assert stack.finish() == 2
    assert "is not a port; give a number from 0 to 65535" in stack.lines[-1]
    stack.assert_nothing_left()


@pytest.mark.parametrize("text", ["65536", "-1", "http", ""])
def test_what_is_no_port(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args([f"--port={text}"])
    assert f"{text!r} is not a port; give a number from 0 to 65535" in capsys.readouterr().err


def test_a_config_that_is_not_there(launch: Launch, tmp_path: Path) -> None:
    line = launch(str(tmp_path / "nowhere.yaml")).assert_refused()
    assert "nowhere.yaml" in line
    assert "configs/local.yaml" in line


def test_a_config_with_a_mistake(launch: Launch, tmp_path: Path) -> None:
    """``tests/unit/test_local_config.py`` has the mistakes."""
    (tmp_path / "changed.yaml").write_text(LOCAL.read_text("utf-8").replace("num_replicas", "num_replica"))
    line = launch(str(tmp_path / "changed.yaml")).assert_refused()
    assert "changed.yaml" in line
    assert "unknown key 'num_replica': did you mean 'num_replicas'" in line


def test_a_checkpoint_that_is_not_there(launch: Launch, tmp_path: Path) -> None:
    line = launch("--port", "0", model=str(tmp_path / "no-checkpoint")).assert_refused()
    assert "no-checkpoint" in line


def test_only_the_local_config_falls_back(launch: Launch) -> None:
    line = launch(str(PROJECT / "configs" / "gpu.yaml"), "--port", "0").assert_refused()
    assert "patrickjohncyh/fashion-clip" in line


def test_a_redis_address_that_is_none(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("REDIS_URL=canary-password@redis:6379\n")
    stack = launch("--port", "0", "--env-file", str(tmp_path / "env"))
    assert "REDIS_URL is not the address of a Redis" in stack.assert_refused()
    assert not any("canary-password" in line for line in stack.lines)


def test_a_data_directory_that_cannot_be_written(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    line = launch("--port", "0", data_dir=tmp_path / "file" / "data").assert_refused()
    assert "--data-dir" in line


def test_haproxy_is_the_front_door_and_throughput_mode_is_on(stack: Stack) -> None:
    """By default: ``Stack`` hands no variable of Ray's to its launcher."""
    port = httpx.URL(stack.url).port
    listening = {
        connection.laddr.port
        for process in stack.processes("/haproxy ")
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert port in listening
    replicas = stack.processes("ServeReplica:fashion:Ingress")
    assert replicas
    for variables in (replica.environ() for replica in replicas):
        assert variables["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == variables["RAY_SERVE_ENABLE_HA_PROXY"] == "1"


def test_a_data_directory_that_is_in_use(stack: Stack) -> None:
    second = Stack.launch(stack.data_dir, "--port", "0")
    assert second.finish() == 2
    (line,) = (line for line in second.lines if line.startswith("error: "))
    assert line == second.lines[-1]
    assert "--data-dir" in line
    assert nothing_left(f"{second.scratch_parent}/") == []
    assert list(second.scratch_parent.glob("fr-*")) == []
    assert httpx.get(f"{stack.url}/readyz").status_code == 200
    assert stack.new_shop().add(garment(), wait_s=30)["status"] == "embedded"
    second.remove_scratch()


def test_it_stops_while_it_starts(launch: Launch, tmp_path: Path) -> None:
    """At three moments, in launchers side by side: most of what each takes is waiting."""

    def stopped(moment: tuple[str, float]) -> Stack:
        after, pause_s = moment
        stack = launch("--port", "0", data_dir=tmp_path / f"{pause_s}", model="assets/demo-clip")
        stack.wait_for(after)
        time.sleep(pause_s)
        assert stack.stop(signal.SIGTERM) < STOP_LIMIT_S
        return stack

    moments = [("PostgreSQL: started", 0.0), ("Model: ", 0.5), ("Model: ", 3.0)]
    with ThreadPoolExecutor(len(moments)) as beside:
        for stack in beside.map(stopped, moments):
            assert not any("Traceback" in line for line in stack.lines), stack.lines
            assert stack.lines[-1] == "Stopped before it was ready.", stack.lines
