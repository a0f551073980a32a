"""Make the search index anew from PostgreSQL; no model is needed.

    python -m scripts.rebuild_index --data-dir data

After the loss of Chroma's directory photos are found again as they come back, shop by shop. A collection that
is there is built anew beside, and swapped: prompts are answered throughout. Works beside a running service
and without one. Exit status: 0 done, 1 something is wrong still, 2 it could not be done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

from scripts.command import run
from scripts.index_progress import on_each, print_reports
from scripts.opened_index import ShopCollection, add_arguments, collections, opened_index
from serve_app.audit_index import rebuild_collection
from serve_app.compare_index import Report
from serve_app.repair_index import AuditParts

PAGE_PHOTOS = 1_000


def main() -> int:
    return run(_parser(), rebuild)


def rebuild(arguments: argparse.Namespace) -> int:
    """The exit status. Raises AppError where a part does not answer."""
    with opened_index(arguments) as index:
        args = index.args.audit.model_copy(update={"page_photos": PAGE_PHOTOS})
        parts = AuditParts(index.database, index.vectors, args)

        def make_anew(one: ShopCollection, progress: Callable[[int], None]) -> Report:
            return rebuild_collection(replace(parts, progress=progress), one.version, one.shop_id)

        reports = on_each("Rebuilding", collections(index, arguments.shop, arguments.version), make_anew)
    print_reports(reports, [], as_document=arguments.json)
    return 1 if any(one["left"] for one in reports) else 0


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.rebuild_index", description=summary)
    add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
