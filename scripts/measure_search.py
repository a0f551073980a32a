"""Measure recall, filters and their cost on 20,000 photos whose vectors imitate real ones.

    python -m scripts.measure_search --check

It starts a PostgreSQL and a Chroma of its own, and then a whole service with the demo model, and stores the
photos directly. Unfiltered and filtered queries take turns, so that both meet the same machine.
With --check it ends with status 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from scripts.console import out
from scripts.measurement import in_process, over_http


def main() -> int:
    arguments = _parser().parse_args()
    directory = Path(tempfile.mkdtemp(prefix="fashion-measure-"))
    try:
        figures = in_process.measure(directory / "parts", arguments.photos, arguments.queries)
        if not arguments.parts_only:
            figures += over_http.measure(directory / "service", arguments.photos, arguments.queries)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for figure in figures:
        out.print(str(figure), markup=False)
    return 1 if arguments.check and not all(figure.met for figure in figures) else 0


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.measure_search", description=summary)
    parser.add_argument("--photos", type=int, default=20_000, help="photos of the shop (default: 20000)")
    parser.add_argument("--queries", type=int, default=60, help="queries of each kind (default: 60)")
    parser.add_argument("--parts-only", action="store_true", help="leave the whole service out")
    parser.add_argument("--check", action="store_true", help="fail where a limit is missed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
