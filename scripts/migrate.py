"""Bring the database's schema to this release.

    python -m scripts.migrate

`python -m serve_app` does so when it starts. Run this before where other hands start the service: Compose and
KubeRay do, as a job. Running it again, or twice at once, does no harm.
"""

from __future__ import annotations

import argparse
import sys

from db.migrate import upgrade
from scripts.command import run
from scripts.named_database import add_data_dir, named_database


def main() -> int:
    return run(_parser(), _migrate)


def _migrate(arguments: argparse.Namespace) -> int:
    with named_database(arguments.data_dir) as url:
        upgrade(url)
    sys.stderr.write("The database has this release's schema.\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.migrate", description=summary)
    add_data_dir(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
