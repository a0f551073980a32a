"""Import a directory of photos or a feed file into a shop, and follow the job.

    FASHION_API_KEY=sk_… python -m scripts.bulk_import catalogue.csv --url http://127.0.0.1:8000
    python -m scripts.bulk_import photos/ --email me@shop.example --data-dir data --errors broken.csv

A directory is sent as a ZIP: with the CSV, JSON or JSONL that lies in it; without one each photo's sku is its
file's name. Over HTTP it needs the shop's secret key; directly (--email) it writes the feed and the job
beside the service, which carries it out. Exit status: 0 every row was imported, 1 the job failed, was
cancelled or has broken rows, 2 it could not be sent or followed.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from dotenv import load_dotenv

from models.errors import AppError, ConfigurationError, InvalidInput
from models.feed import FeedFormat, FeedMode, OnError
from models.import_api import JobDetail
from models.import_job import ImportOptions
from models.job import JobStatus
from scripts.console import log, out
from scripts.importing.directly import directly
from scripts.importing.feed_source import feed_source
from scripts.importing.over_http import over_http
from scripts.importing.target import ImportTarget
from scripts.importing.watch import followed, print_json, sending, summary
from serve_app.data_directory import DataDirectory

KEY_VARIABLE = "FASHION_API_KEY"


def main() -> int:
    arguments = _parser().parse_args()
    load_dotenv(".env")
    try:
        return bulk_import(arguments)
    except AppError as error:
        log.print(f"error: {error.message}", markup=False)
        return 2


def bulk_import(arguments: argparse.Namespace) -> int:
    """The exit status. Raises AppError."""
    source = feed_source(arguments.path)
    with _target(arguments) as target:
        with sending(source.size_bytes, quiet=arguments.json) as sent:
            job = target.send(source, _options(arguments), sent)
        if not _is_followed(arguments):
            return _left_to_itself(job, as_json=arguments.json)
        try:
            job = followed(target, job, as_json=arguments.json)
        except KeyboardInterrupt:
            log.print(f"Job {job.id} goes on without this script.")
            return 130
        if not arguments.json:
            out.print(summary(job), markup=False)
        if job.counts.failed:
            _report(target, job, arguments.errors)
    return 0 if job.status is JobStatus.SUCCEEDED and not job.counts.failed else 1


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


def _left_to_itself(job: JobDetail, *, as_json: bool) -> int:
    if as_json:
        print_json(job)
    else:
        out.print(f"Job {job.id} is {job.status.value}.")
    return 0


def _report(target: ImportTarget, job: JobDetail, path: Path | None) -> None:
    """Raises InvalidInput where the file cannot be written."""
    if path is None:
        log.print(
            f"{job.counts.failed:,} rows are broken. --errors FILE writes them: {job.errors}?format=csv"
        )
        return
    try:
        with path.open("wb") as file:
            file.writelines(target.errors(job.id))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror}).") from None
    log.print(f"The broken rows are in {path}: correct them and import that file.", markup=False)


def _options(arguments: argparse.Namespace) -> ImportOptions:
    names = ("mode", "on_error", "format", "confirm_removal", "auto_tag")
    given = {name: getattr(arguments, name) for name in names}
    return ImportOptions(**{name: value for name, value in given.items() if value})


def _parser() -> argparse.ArgumentParser:
    summary_line = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.bulk_import", description=summary_line)
    parser.add_argument(
        "path", type=Path, help="a directory of photos, or a feed (.csv, .json, .jsonl, .zip)"
    )
    parser.add_argument("--url", help="address of the service: the import goes over HTTP")
    parser.add_argument(
        "--key", help=f"the shop's secret key; better in {KEY_VARIABLE}: others see arguments"
    )
    parser.add_argument("--email", help="the shop's e-mail address: the import goes directly")
    where = "with --email: data directory of a local service; else the environment names the servers"
    parser.add_argument("--data-dir", type=Path, help=where)
    parser.add_argument(
        "--mode", choices=list(FeedMode), help="full: photos that it does not have are removed"
    )
    parser.add_argument("--on-error", choices=list(OnError), help="of a broken row (default: skip_rows)")
    parser.add_argument("--format", choices=list(FeedFormat), help="default: auto")
    parser.add_argument("--confirm-removal", action="store_true", help="let full remove a large share")
    parser.add_argument("--auto-tag", action="store_true", help="fill in terms that rows leave out")
    parser.add_argument("--idempotency-key", metavar="KEY", help="the same again is the same job")
    parser.add_argument("--errors", type=Path, metavar="FILE", help="write the broken rows there, as CSV")
    parser.add_argument("--json", action="store_true", help="the job as a line of JSON, at each change")
    parser.add_argument("--no-wait", action="store_true", help="end once the job is queued")
    return parser


if __name__ == "__main__":
    sys.exit(main())
