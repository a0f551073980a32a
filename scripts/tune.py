"""Measure this machine, and write the config that serves the highest rate within a latency limit.

    python -m scripts.tune --slo-p99-ms 100

Bare towers first: they rule out batch sizes and threads. Then a service of its own, in a temporary directory,
with a shop of --photos photos: the highest rate of requests whose p99 stays within the limit, with the config
as it is, and with one value after the other changed. What wins is measured again, in turns with the config as
it was. docs/performance.md says more ("Tuning"). Leave the machine alone meanwhile.

Exit status: 0 a config was written, 1 the limit cannot be met, 2 anything else; one line says what.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from dotenv import load_dotenv

from models.errors import AppError
from scripts.benchmark.machine import describe
from scripts.benchmark.results import document_of
from scripts.benchmark.workbench import CONFIG
from scripts.console import log, out
from scripts.tuning.outcome import Outcome, table_of
from scripts.tuning.run_tuning import Options, Tuned, tune
from scripts.tuning.written import require_free, tuned_text, write_config

NOT_MET = 1
LEAST_PHOTOS = 100


def main() -> int:
    arguments = _parser().parse_args()
    load_dotenv(".env")
    signal.signal(signal.SIGTERM, _unwind)  # the service has a session of its own and would live on
    directory = Path(tempfile.mkdtemp(prefix="fashion-tune-"))
    try:
        require_free(arguments.output, force=arguments.force)
        tuned = tune(directory, _options(arguments))
        log.print(table_of(tuned.outcome))
        if not tuned.outcome.rate:
            return _not_met(tuned.outcome)
        text = arguments.config.read_text("utf-8")
        write_config(
            tuned_text(text, tuned.outcome, tuned.others, _header(tuned, arguments)), arguments.output
        )
    except AppError as error:
        log.print(f"error: {error.message}", markup=False)
        return 2
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    _show(tuned.outcome, arguments)
    return 0


def _show(outcome: Outcome, arguments: argparse.Namespace) -> None:
    if arguments.json:
        given = vars(arguments).items()
        options = {name: str(value) if isinstance(value, Path) else value for name, value in given}
        document = document_of("tune", options, outcome.figures(), outcome.details())
        sys.stdout.write(json.dumps(document) + "\n")
        return
    for figure in outcome.figures():
        out.print(str(figure), markup=False)
    out.print(f"Written: {arguments.output}. Start it: python -m serve_app {arguments.output}", markup=False)


def _not_met(outcome: Outcome) -> int:
    slowest = outcome.least_asked()
    log.print(
        f"A p99 of {outcome.slo_ms:g} ms cannot be met here: even at {slowest.rate:.0f} requests/s half take "
        f"{slowest.p50_ms:.0f} ms, and one in a hundred {slowest.p99_ms:.0f} ms. Nothing was written. Give "
        f"--slo-p99-ms {slowest.p99_ms * 1.5:.0f} or more, or a faster machine.",
        markup=False,
    )
    return NOT_MET


def _header(tuned: Tuned, arguments: argparse.Namespace) -> list[str]:
    outcome, machine = tuned.outcome, describe()
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    base = f"{arguments.config} beside it: {outcome.verified.rate(0):.0f}/s"
    if not outcome.adopted:
        tried = "nothing that was tried held more" if outcome.trials else "there was no time to try more"
        base = f"as {arguments.config} does: {tried}"
    return [
        f"Tuned by: python -m scripts.tune --slo-p99-ms {arguments.slo_p99_ms:g} --config {arguments.config}"
        f" ({datetime.now(UTC):%Y-%m-%d})",
        f"Machine: {machine['cpu']}, {tuned.hardware}{gpu}",
        f"Limit: 99 of 100 recommendations within {arguments.slo_p99_ms:g} ms. The highest rate that held:",
        f"{outcome.rate:.0f} requests/s ({base}).",
        f"One shop of {arguments.photos:,} photos, distinct prompts, clients on the same machine.",
    ]


def _options(arguments: argparse.Namespace) -> Options:
    return Options(
        slo_ms=arguments.slo_p99_ms,
        config=arguments.config,
        model=arguments.model,
        minutes=arguments.minutes,
        seconds=arguments.seconds,
        photos=arguments.photos,
        cache_mb=arguments.cache_mb,
        only=arguments.only,
    )


def _unwind(*_: object) -> None:
    raise SystemExit(143)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _short(path: Path) -> Path:
    """As seen from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _whole(text: str) -> int:
    if not text.isdigit() or int(text) < LEAST_PHOTOS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {LEAST_PHOTOS} on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tune",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--slo-p99-ms", type=_positive, required=True, help="milliseconds that 99 of 100 requests keep"
    )
    parser.add_argument(
        "--config", type=Path, default=_short(CONFIG), help="to begin with (default: local.yaml)"
    )
    parser.add_argument("--output", type=Path, default=Path("tuned.yaml"), help="default: tuned.yaml")
    parser.add_argument("--force", action="store_true", help="replace --output where it is there already")
    shape = "random weights, FashionCLIP's shape: the compute is the same"
    parser.add_argument("--model", help=f"a checkpoint's directory (default: {shape})")
    parser.add_argument("--minutes", type=_positive, default=10.0, help="for all of it (default: 10)")
    parser.add_argument("--seconds", type=_positive, default=5.0, help="of each probe (default: 5)")
    parser.add_argument("--photos", type=_whole, default=10_000, help="of the shop (default: 10000)")
    memory = "a 200th of the memory, at most 256"
    parser.add_argument(
        "--cache-mb", type=_positive, help=f"for vectors of prompts that come again (default: {memory})"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="KNOB", help="try these alone: 'calls.text_calls' …"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
