"""Bring the database's schema to this release.

    python -m scripts.migrate               # do it
    python -m scripts.migrate --wait 600    # wait until another process has done it

`python -m serve_app` does so when it starts. Run this before where other hands start the service: Compose and
KubeRay do, as a job. Running it again, or twice at once, does no harm.
"""

from __future__ import annotations

import argparse
import sys
import time

from sqlalchemy import URL

from db.migrate import is_migrated, upgrade
from models.errors import AppError, ConfigurationError
from scripts.command import run
from scripts.named_database import add_data_dir, named_database

PAUSE_S = 2.0


def main() -> int:
    return run(_parser(), _migrate)


def _migrate(arguments: argparse.Namespace) -> int:
    with named_database(arguments.data_dir) as url:
        if arguments.wait is None:
            upgrade(url)
        else:
            _wait(url, arguments.wait)
    sys.stderr.write("The database has this release's schema.\n")
    return 0


def _wait(url: str | URL, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    reason = "the schema is missing, or an earlier release's"
    while True:
        try:
            if is_migrated(url):
                return
        except AppError as error:  # not there yet
            reason = error.message.rstrip(".")
        if time.monotonic() > deadline:
            raise ConfigurationError(
                f"After {wait_s:g} s the database is not ready: {reason}. "
                "Run python -m scripts.migrate, and read what it says."
            )
        time.sleep(PAUSE_S)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.migrate", description=summary)
    add_data_dir(parser)
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="change nothing; wait until it is done")
    return parser


if __name__ == "__main__":
    sys.exit(main())
