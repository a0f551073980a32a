"""Check a Serve config before it is deployed: mistakes, and traps on the way to them.

    python -m scripts.check_config configs/cluster.yaml --nodes 3 --cpus 8

Exit status 0: no mistake; 1: a warning, with --strict; 2: a mistake, or a file that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import ConfigurationError
from scripts.console import log, out

if TYPE_CHECKING:
    from scripts.config_check.checked import Cluster, Finding
    from scripts.config_check.lines import Lines
    from serve_app.config_mistakes import Mistake, Place


def main() -> int:
    arguments = _parser().parse_args()
    cluster = _cluster(arguments)
    statuses = [_check(path, cluster, set(arguments.accept)) for path in arguments.files]
    worst = max(statuses)
    return worst if worst != 1 or arguments.strict else 0


def _check(path: Path, cluster: Cluster, accepted: set[str]) -> int:
    """2: mistakes, 1: warnings."""
    from scripts.config_check.lines import Lines

    try:
        errors, warnings = inspect(path, cluster)
    except ConfigurationError as error:
        log.print(f"error: {error.message}", markup=False)
        return 2
    lines = Lines(path.read_text("utf-8"))
    warnings = [one for one in warnings if one.code not in accepted]
    for mistake in errors:
        _show(path, lines, mistake.place, f"error: {_name(path, mistake.place)}: {mistake.message}")
    for one in warnings:
        _show(path, lines, one.place, f"warning: {_name(path, one.place)}: {one.message} [{one.code}]")
    found = f"{len(errors)} error(s), warnings not looked for" if errors else f"{len(warnings)} warning(s)"
    log.print(f"{path}: {found if errors or warnings else 'nothing found'}", markup=False)
    return 2 if errors else int(bool(warnings))


def inspect(path: Path, cluster: Cluster) -> tuple[list[Mistake], list[Finding]]:
    """Mistakes; warnings only where there are none. Raises ConfigurationError where it is not YAML."""
    from scripts.config_check import calls, replicas, room
    from scripts.config_check.checked import checked
    from scripts.config_check.lines import Lines
    from serve_app.config_mistakes import mistakes
    from serve_app.local_config import IMPORT_PATH, read_document

    document = read_document(path)
    lines = Lines(path.read_text("utf-8"))
    if errors := [*lines.repeated, *mistakes(document, IMPORT_PATH)]:
        return sorted(errors, key=lambda one: lines.of(one.place)), []
    config = checked(document, cluster)
    checks = (*replicas.CHECKS, *room.CHECKS, *calls.CHECKS)
    warnings = [finding for check in checks for finding in check(config)]
    return [], sorted(warnings, key=lambda one: lines.of(one.place))


def _show(path: Path, lines: Lines, place: Place, text: str) -> None:
    out.print(f"{path}:{lines.of(place)}: {text}", markup=False)


def _name(path: Path, place: Place) -> str:
    """The place's keys, with deployments by their names and without what leads to the one application."""
    from serve_app.local_config import read_document

    words: list[object] = list(place)
    if words[:2] == ["applications", 0] and len(words) > 2:
        words = words[2:]
        if words[0] == "deployments" and len(words) > 1:
            own = read_document(path)["applications"][0]["deployments"][place[3]]
            words = [own.get("name") if isinstance(own, dict) else f"deployments.{words[1]}", *words[2:]]
    return ".".join(map(str, words)) or "the file"


def _cluster(arguments: argparse.Namespace) -> Cluster:
    """What the options leave out is this machine's, of which Ray counts two CPUs at least."""
    from scripts.config_check.checked import Cluster
    from scripts.tuning.hardware import hardware
    from scripts.tuning.knobs import LEAST_CPUS

    cpus, gpus = arguments.cpus, arguments.gpus
    if cpus is None or gpus is None:
        machine = hardware()
        cpus = max(machine.cores, LEAST_CPUS) if cpus is None else cpus
        gpus = machine.gpus if gpus is None else gpus
    return Cluster(cpus, gpus, arguments.nodes)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.check_config", description=summary)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a Serve config (configs/*.yaml)")
    parser.add_argument("--cpus", type=_amount, help="CPUs of each node (default: this machine's)")
    parser.add_argument("--gpus", type=_amount, help="GPUs of each node (default: this machine's)")
    parser.add_argument("--nodes", type=_count, default=1, help="nodes with CPUs (default: 1)")
    parser.add_argument("--strict", action="store_true", help="exit status 1 where there are warnings")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="CODE", help="leave warnings of this kind out"
    )
    return parser


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount; give a number from 0 on")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes; give 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
