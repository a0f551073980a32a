"""The local servers under what a newcomer does to them: long paths, two programs, kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import NullPool, create_engine, text

from models.errors import ConfigurationError
from serve_app.local_services import LocalChroma, LocalPostgres
from tests.stack import processes_naming

OWNER = """
import sys, time
from pathlib import Path
from serve_app.local_services import LocalChroma, LocalPostgres
server = {kind}(Path(sys.argv[1]))
print(server.start(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def owner(kind: str, data_dir: Path, stack: ExitStack) -> tuple[subprocess.Popen[str], str]:
    """Another program that holds the server; returns it and the server's URL."""
    command = [sys.executable, "-c", OWNER.format(kind=kind), str(data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def execute(url: str, statement: str) -> int:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return int(result.scalar_one()) if result.returns_rows else 0


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])


def eventually(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_postgres_keeps_its_data_under_a_very_long_path(tmp_path: Path) -> None:
    data_dir = tmp_path / ("a long name " * 10) / "data"
    data_dir.mkdir(parents=True)
    server = LocalPostgres(data_dir)
    url = server.start()
    execute(url, "CREATE TABLE kept AS SELECT 42 AS value")
    assert execute(url, "SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'on'") == 1
    pid = postmaster(data_dir)
    server.stop()
    server.stop()
    assert is_gone(pid)
    again = LocalPostgres(data_dir)
    assert execute(again.start(), "SELECT value FROM kept") == 42
    again.stop()


def test_the_last_user_stops_postgres(tmp_path: Path, stack: ExitStack) -> None:
    first, url = owner("LocalPostgres", tmp_path, stack)
    second = LocalPostgres(tmp_path)
    assert second.start() == url
    pid = postmaster(tmp_path)
    second.stop()
    assert execute(url, "SELECT 1") == 1, "the first user still needs it"
    third = LocalPostgres(tmp_path)
    third.start()
    first.kill()
    first.wait()
    assert execute(url, "SELECT 1") == 1
    third.stop()
    assert is_gone(pid), "its first owner was killed, so the third was the last"


def test_postgres_recovers_from_being_killed(tmp_path: Path) -> None:
    server = LocalPostgres(tmp_path)
    execute(server.start(), "CREATE TABLE kept AS SELECT 42 AS value")
    os.kill(postmaster(tmp_path), signal.SIGKILL)
    eventually(lambda: is_gone(postmaster(tmp_path)))
    again = LocalPostgres(tmp_path)
    assert execute(again.start(), "SELECT value FROM kept") == 42
    server.stop()
    pid = postmaster(tmp_path)
    again.stop()
    assert is_gone(pid)


def test_a_recorded_process_id_that_now_is_another_program(tmp_path: Path) -> None:
    server = LocalPostgres(tmp_path)
    server.start()
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    recorded = pid_file.read_text()
    server.stop()
    pid_file.write_text(recorded.replace(recorded.split("\n", 1)[0], str(os.getpid()), 1))
    again = LocalPostgres(tmp_path)
    assert execute(again.start(), "SELECT 1") == 1
    again.stop()


def test_a_second_chroma_is_refused_until_the_first_stops(tmp_path: Path, stack: ExitStack) -> None:
    _, url = owner("LocalChroma", tmp_path, stack)
    with pytest.raises(ConfigurationError, match=r"another service already runs on .*--data-dir"):
        LocalChroma(tmp_path).start()
    other = LocalChroma(tmp_path / "other")
    assert other.start() != url
    other.stop()


def test_chroma_dies_with_its_owner(tmp_path: Path, stack: ExitStack) -> None:
    process, url = owner("LocalChroma", tmp_path, stack)
    (server,) = psutil.Process(process.pid).children()
    assert httpx.get(f"{url}/api/v2/heartbeat").status_code == 200
    process.kill()
    process.wait()
    eventually(lambda: is_gone(server.pid))
    again = LocalChroma(tmp_path)
    again.start()
    again.stop()


def test_chroma_comes_back_on_its_port(tmp_path: Path, stack: ExitStack) -> None:
    server = LocalChroma(tmp_path)
    url = server.start()
    stack.callback(server.stop)
    server.ensure_running()
    (first,) = processes_naming(str(tmp_path / "chroma"))
    first.kill()

    def answers_again() -> bool:
        server.ensure_running()
        with suppress(httpx.ConnectError):
            return httpx.get(f"{url}/api/v2/heartbeat").status_code == 200
        return False

    eventually(answers_again)
    assert is_gone(first.pid)
    server.stop()
    server.ensure_running()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/api/v2/heartbeat")
