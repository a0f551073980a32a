"""The service against separate servers, without containers: ``make stack``.

PostgreSQL, Chroma, Redis, S3 and SMTP run as processes of this machine, and the launcher serves
configs/cluster.yaml against them, as an installation does that docker-compose.yml describes.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from scripts.command import run
from scripts.console import log
from scripts.native_servers import NativeServers

PROJECT = Path(__file__).resolve().parents[1]
CONFIG = PROJECT / "configs" / "cluster.yaml"
SHOWN = ("DB_HOST", "DB_PORT", "CHROMA_URL", "MEDIA_URL", "AWS_ENDPOINT_URL", "SMTP_PORT")


def main() -> int:
    """What the launcher returns; 2 where a server did not start."""
    return run(_parser(), _serve)


def _serve(arguments: argparse.Namespace) -> int:
    folder = arguments.data_dir.expanduser().resolve()
    servers = NativeServers(folder / "servers")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        servers.start()
        variables = servers.variables
        for name in SHOWN:
            log.print(f"{name}={variables[name]}", markup=False)
        log.print(f"Mails: {servers.mails}; all variables: {servers.env_file}", markup=False)
        return _launch(arguments, folder, {**os.environ, **variables})
    except KeyboardInterrupt:
        return 0
    finally:
        servers.stop()


def _launch(arguments: argparse.Namespace, folder: Path, environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "serve_app", str(arguments.config), "--data-dir", str(folder)]
    command += ["--port", str(arguments.port), "--env-file", os.devnull]
    command += ["--model", arguments.model] if arguments.model else []
    # A session of its own: Ctrl-C reaches this process, which stops the service and then its servers.
    service = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return service.wait()
    except KeyboardInterrupt:
        service.terminate()
        return service.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.stack", description="Run the service against native servers."
    )
    parser.add_argument("config", nargs="?", type=Path, default=CONFIG, help="default: configs/cluster.yaml")
    parser.add_argument("--data-dir", type=Path, default=Path("data-stack"), help="default: data-stack")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0: a free one")
    parser.add_argument("--model", help="a hub name or a checkpoint directory, instead of the config's")
    return parser


if __name__ == "__main__":
    sys.exit(main())
