"""Compare the search index with PostgreSQL, and repair it.

    python -m scripts.verify --data-dir data
    python -m scripts.verify --repair --shop me@shop.example --data-dir data

Works beside a running service and without one; the service goes on answering. Exit status: 0 all is well
(or was repaired), 1 something is wrong still, 2 the comparison could not be made.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

from scripts.command import run
from scripts.index_progress import on_each, print_reports
from scripts.opened_index import ShopCollection, add_arguments, collections, opened_index
from serve_app.audit_index import audit_collection, foreign_collections, remove_foreign
from serve_app.compare_index import Report
from serve_app.repair_index import AuditParts


def main() -> int:
    return run(_parser(), verify)


def verify(arguments: argparse.Namespace) -> int:
    """The exit status. Raises AppError where a part does not answer."""
    with opened_index(arguments) as index:
        audit = index.args.audit
        args = audit if arguments.sample is None else audit.model_copy(update={"sample": arguments.sample})
        parts = AuditParts(index.database, index.vectors, args, seed=arguments.seed)

        def compare(one: ShopCollection, progress: Callable[[int], None]) -> Report:
            own = replace(parts, progress=progress)
            return audit_collection(own, one.version, one.shop_id, repair=arguments.repair)

        reports = on_each("Comparing", collections(index, arguments.shop, arguments.version), compare)
        whole = arguments.shop is None and arguments.version is None
        foreign = foreign_collections(parts) if whole else []
        if arguments.repair:
            remove_foreign(parts, foreign)
    print_reports(reports, foreign, as_document=arguments.json)
    left = sum(one["left"] for one in reports) + (0 if arguments.repair else len(foreign))
    return 1 if left else 0


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.verify", description=summary)
    add_arguments(parser)
    parser.add_argument("--repair", action="store_true", help="repair what is found")
    sample = "photos of each collection that have to be found by their own vector (default: the config's)"
    parser.add_argument("--sample", type=_positive, metavar="N", help=sample)
    parser.add_argument("--seed", type=int, default=0, help="chooses the sample (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
