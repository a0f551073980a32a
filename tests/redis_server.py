"""A real Redis for tests, where the machine has one (``apt install redis-server``)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from serve_app.local_environment import free_ports

PATIENCE_S = 10.0
PASSWORD = "canary-redis-password"


@dataclass
class RedisServer:
    """Keeps its port while it is stopped. Nothing is written to disk."""

    binary: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = subprocess.Popen(
            [self.binary, *arguments, "--requirepass", PASSWORD], stdout=subprocess.DEVNULL, cwd="/tmp"
        )
        deadline = time.monotonic() + PATIENCE_S
        while not self._listens():
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _listens(self) -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """An empty one for each test; starting takes some hundredths of a second."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (apt install redis-server)")
    server = RedisServer(binary, free_ports(1)[0])
    server.start()
    try:
        yield server
    finally:
        server.stop()
