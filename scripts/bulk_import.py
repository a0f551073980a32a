"""Import a directory of photos or a feed file into a shop, and follow the job.

    FASHION_API_KEY=sk_… python -m scripts.bulk_import catalogue.csv --url http://127.0.0.1:8000
    python -m scripts.bulk_import photos/ --email me@shop.example --data-dir data --errors broken.csv
    python -m scripts.bulk_import --job 7 --url http://127.0.0.1:8000

A directory is sent as a ZIP: with the CSV, JSON or JSONL that lies in it; without one each photo's sku is its
file's name, and many photos go as several jobs. Over HTTP it needs the shop's secret key; directly (--email)
it writes the feed and the job beside the service, which carries it out. The same again is safe: what is
there already is `unchanged`.

Exit status: 0 every row was imported (or queued, with --no-wait), 1 a job failed, was cancelled or has broken
rows, 2 it could not be sent or followed, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path

from dotenv import load_dotenv

from models.errors import AppError, ConfigurationError, InvalidInput
from models.feed import FeedFormat, FeedMode, OnError
from models.import_job import ImportOptions
from scripts.console import log
from scripts.importing.broken_rows_file import broken_rows_file
from scripts.importing.directly import directly
from scripts.importing.feed_source import PART_BYTES, FeedSource, feed_source, parts_of
from scripts.importing.import_run import STOPPED, ImportRun
from scripts.importing.over_http import over_http
from scripts.importing.target import ImportTarget
from serve_app.data_directory import DataDirectory

KEY_VARIABLE = "FASHION_API_KEY"


def main() -> int:
    arguments = _parser().parse_args()
    load_dotenv(".env")
    try:
        return bulk_import(arguments)
    except AppError as error:
        log.print(f"error: {error.message}", markup=False)
    except OSError as error:
        log.print(f"error: {error.filename or 'writing'}: {error.strerror or error}", markup=False)
    except KeyboardInterrupt:
        log.print("Stopped.")
        return STOPPED
    return 2


def bulk_import(arguments: argparse.Namespace) -> int:
    """The exit status. Raises AppError, and OSError where a file cannot be read or written."""
    parts = _parts(arguments)
    with _target(arguments) as target, broken_rows_file(arguments.errors) as broken:
        run = ImportRun(target, broken, as_json=arguments.json)
        if arguments.job is not None:
            return run.follow(target.read(arguments.job))
        run.is_followed = _is_followed(arguments)
        return run.import_parts(parts, _options(arguments), arguments.from_part)


def _parts(arguments: argparse.Namespace) -> list[FeedSource]:
    """Several only where each may succeed or fail alone. Raises InvalidInput, OSError."""
    if (arguments.path is None) == (arguments.job is None):
        raise InvalidInput("Give a directory or a feed to import, or --job ID to follow one.")
    if arguments.path is None:
        return []
    source, options = feed_source(arguments.path), _options(arguments)
    alone = options.mode is FeedMode.INCREMENTAL and options.on_error is OnError.SKIP_ROWS
    # Without HTTP there is no limit of bytes.
    return parts_of(source, arguments.part_bytes) if alone and arguments.email is None else [source]


def _target(arguments: argparse.Namespace) -> AbstractContextManager[ImportTarget]:
    if arguments.email is not None:
        return directly(arguments.data_dir, arguments.email, arguments.idempotency_key)
    key = arguments.key or os.environ.get(KEY_VARIABLE)
    if arguments.url is None or not key:
        raise ConfigurationError(
            f"Say where to: --url URL with the shop's secret key in {KEY_VARIABLE} (or --key), or --email "
            "with --data-dir DIR to write beside a local service."
        )
    return over_http(arguments.url, key, arguments.idempotency_key)


def _is_followed(arguments: argparse.Namespace) -> bool:
    """A local service that does not run does nothing that could be followed."""
    if arguments.email is None or arguments.data_dir is None or arguments.no_wait:
        return not arguments.no_wait
    if DataDirectory(arguments.data_dir).running() is not None:
        return True
    log.print(f"No service runs on {arguments.data_dir}: the job waits until one is started.", markup=False)
    return False


def _options(arguments: argparse.Namespace) -> ImportOptions:
    names = ("mode", "on_error", "format", "confirm_removal", "auto_tag")
    given = {name: getattr(arguments, name) for name in names}
    return ImportOptions(**{name: value for name, value in given.items() if value})


def _values(options: type[StrEnum]) -> list[str]:
    return [option.value for option in options]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bulk_import",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path", type=Path, nargs="?", help="a directory of photos, or a feed (.csv, .json, .jsonl, .zip)"
    )
    parser.add_argument("--url", help="address of the service: the import goes over HTTP")
    parser.add_argument(
        "--key", help=f"the shop's secret key; better in {KEY_VARIABLE}: others see arguments"
    )
    parser.add_argument("--email", help="the shop's e-mail address: the import goes directly")
    where = "with --email: data directory of a local service; else the environment names the servers"
    parser.add_argument("--data-dir", type=Path, help=where)
    parser.add_argument(
        "--mode", choices=_values(FeedMode), help="full: photos that it does not have are removed"
    )
    parser.add_argument("--on-error", choices=_values(OnError), help="of a broken row (default: skip_rows)")
    parser.add_argument("--format", choices=_values(FeedFormat), help="default: auto")
    parser.add_argument("--confirm-removal", action="store_true", help="let full remove a large share")
    parser.add_argument("--auto-tag", action="store_true", help="fill in terms that rows leave out")
    parser.add_argument("--idempotency-key", metavar="KEY", help="the same again is the same job")
    parser.add_argument("--errors", type=Path, metavar="FILE", help="write the broken rows there, as CSV")
    parser.add_argument("--json", action="store_true", help="the job as a line of JSON, at each change")
    parser.add_argument("--job", type=int, metavar="ID", help="instead of a path: follow that job to its end")
    parser.add_argument(
        "--part-bytes", type=int, default=PART_BYTES, metavar="N", help=f"of a part (default: {PART_BYTES})"
    )
    parser.add_argument("--from-part", type=int, default=1, metavar="N", help="go on with that part")
    parser.add_argument("--no-wait", action="store_true", help="end once the job is queued")
    return parser


if __name__ == "__main__":
    sys.exit(main())
