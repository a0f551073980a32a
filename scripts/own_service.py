"""A service that a script starts for itself, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from configs.settings import environment_names
from models.errors import ConfigurationError
from scripts.console import log
from serve_app.data_directory import DataDirectory, RunningService

STOP_TIMEOUT_S = 30


def start(
    directory: DataDirectory,
    model: str | None,
    port: int,
    config: Path | None = None,
    launcher: str = "serve_app",
) -> subprocess.Popen[bytes]:
    """The launcher (a module) as a process of its own; its lines appear on our standard error.

    ``config``: a file other than the launcher's default.
    """
    command = [sys.executable, "-m", launcher, *([str(config)] if config else [])]
    command += ["--data-dir", str(directory.path), "--port", str(port)]
    command += ["--env-file", os.devnull, *(["--model", model] if model else [])]
    # A script's data must never reach a database that the environment happens to name.
    foreign = environment_names() | {"RAY_ADDRESS"}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    # A session of its own: Ctrl-C reaches this process, which stops the service in order.
    return subprocess.Popen(command, env=environment, start_new_session=True)


def wait_until_it_runs(directory: DataDirectory, service: subprocess.Popen[bytes]) -> RunningService:
    """Its address and its database, as it announces them. Raises ConfigurationError where it ends instead."""
    while (running := directory.running()) is None or running.pid != service.pid:
        try:
            service.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        raise ConfigurationError("The service did not start; its message is above.")
    return running


def stop(service: subprocess.Popen[bytes]) -> None:
    """In order; after 30 s by force."""
    service.terminate()
    try:
        service.wait(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        log.print(f"The service did not stop within {STOP_TIMEOUT_S} s; killing it.")
        service.kill()
