"""Measure the running system against its limits and alternatives, side by side in one run.

    python -m scripts.benchmark query --peer monolith --check

Each starts services of its own, in a temporary directory, with a model of FashionCLIP's exact shape and
random weights (--model names another; accuracy and memory take the bundled one). With --check it ends with
status 1 where a limit is missed. What was measured, and on what machine, is kept in --output as JSON, with a
plot beside it where matplotlib is installed (the extra ``benchmark``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs.serving import CollectionArgs
from models.errors import AppError
from scripts.benchmark import (
    accuracy,
    autoscale,
    bulk,
    decoding,
    fairness,
    filters,
    handover,
    image,
    memory,
    mixed,
    query,
    scale,
    search,
    text,
)
from scripts.benchmark.autoscale_config import EMBEDDER, INGRESS, Autoscaling
from scripts.benchmark.draw import draw
from scripts.benchmark.results import document_of, require_writable, save
from scripts.benchmark.workbench import CONFIG
from scripts.console import log, out
from scripts.measurement.report import Figure

Measured = tuple[list[Figure], Any]


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _unwind)  # the service has a session of its own and would live on
    directory = Path(tempfile.mkdtemp(prefix="fashion-benchmark-"))
    measure: Callable[[Path, argparse.Namespace], Measured] = arguments.measure
    try:
        require_writable(arguments.output)
        figures, details = measure(directory, arguments)
        document = document_of(arguments.kind, _options(arguments), figures, details)
        kept = save(document, arguments.output)
        log.print(f"Kept in {kept}{', and drawn beside it' if draw(kept) else ''}.", markup=False)
    except AppError as error:
        log.print(f"error: {error.message}", markup=False)
        return 2
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if arguments.json:
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        for figure in figures:
            out.print(str(figure), markup=False)
    return 1 if arguments.check and not all(figure.met for figure in figures) else 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a run was asked for, as JSON has it."""
    how = {"kind", "measure", "json", "check", "output"}
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(arguments).items()
        if name not in how
    }


def _unwind(*_: object) -> None:
    raise SystemExit(143)


def _bulk(directory: Path, arguments: argparse.Namespace) -> Measured:
    options = bulk.Options(arguments.photos, arguments.rounds, arguments.peer == "loop")
    return bulk.measure(directory, arguments.model, arguments.config, options)


def _fairness(directory: Path, arguments: argparse.Namespace) -> Measured:
    return fairness.measure(directory, arguments.model, arguments.backlog, arguments.uploads)


def _mixed(directory: Path, arguments: argparse.Namespace) -> Measured:
    rounds, clients = arguments.rounds, arguments.clients
    return mixed.measure(directory, arguments.model, arguments.requests, rounds, clients)


def _query(directory: Path, arguments: argparse.Namespace) -> Measured:
    options = query.Options(
        arguments.backend,
        arguments.photos,
        arguments.clients,
        arguments.seconds,
        arguments.rounds,
        arguments.repeat,
        arguments.peer == "monolith",
    )
    return query.measure(directory, arguments.model, arguments.config, options)


def _search(directory: Path, arguments: argparse.Namespace) -> Measured:
    from serve_app.local_config import load_config

    given = {name: getattr(arguments, name) for name in CollectionArgs.model_fields}
    changed = {name: value for name, value in given.items() if value is not None}
    collection = load_config(arguments.config).args.collection.model_copy(update=changed)
    options = search.Options(arguments.sizes, arguments.queries, arguments.rounds, collection)
    return search.measure(directory, options)


def _text(directory: Path, arguments: argparse.Namespace) -> Measured:
    options = text.Options(
        arguments.backend,
        arguments.device,
        arguments.threads,
        arguments.callers,
        arguments.seconds,
        arguments.rounds,
    )
    return text.measure(directory, arguments.model, arguments.config, options)


def _filters(directory: Path, arguments: argparse.Namespace) -> Measured:
    photos, queries = arguments.photos, arguments.queries
    return filters.measure(directory, photos, queries, parts_only=arguments.parts_only)


def _image(directory: Path, arguments: argparse.Namespace) -> Measured:
    options = image.Options(arguments.device, arguments.threads, arguments.rounds)
    return image.measure(directory, arguments.model, arguments.config, options)


def _accuracy(_: Path, arguments: argparse.Namespace) -> Measured:
    model = Path(arguments.model) if arguments.model else accuracy.DEMO_MODEL
    return accuracy.measure(model, arguments.each, arguments.seed)


def _decode(directory: Path, arguments: argparse.Namespace) -> Measured:
    return decoding.measure(directory, arguments.model, arguments.photos, arguments.rounds)


def _handover(directory: Path, arguments: argparse.Namespace) -> Measured:
    return handover.measure(directory, arguments.model, arguments.rounds)


def _memory(directory: Path, arguments: argparse.Namespace) -> Measured:
    return memory.measure(directory, arguments.model, tuple(arguments.lines))


def _scale(directory: Path, arguments: argparse.Namespace) -> Measured:
    return scale.measure(directory, arguments.model, arguments.nodes, arguments.rounds, arguments.seconds)


def _autoscale(directory: Path, arguments: argparse.Namespace) -> Measured:
    rates = None if arguments.rates is None else tuple(arguments.rates)
    scaled = Autoscaling(arguments.deployment, arguments.replicas, arguments.ongoing)
    options = autoscale.Options(arguments.towers == "sleeping", scaled, rates)
    return autoscale.measure(directory, arguments.model, options)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmark", description=summary)
    kinds = parser.add_subparsers(dest="kind", required=True)
    own = _kind(kinds, "bulk", _bulk, bulk.__doc__)
    own.add_argument("--photos", type=int, default=1024, help="photos of each round (default: 1024)")
    own.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    own.add_argument("--peer", choices=["loop"], help="measure it as well, in turns")
    _add_config(own)
    own = _kind(kinds, "fairness", _fairness, fairness.__doc__)
    own.add_argument("--backlog", type=int, default=1_000_000, help="photos that wait (default: 1000000)")
    own.add_argument("--uploads", type=int, default=12, help="single uploads of each kind (default: 12)")
    own = _kind(kinds, "mixed", _mixed, mixed.__doc__)
    own.add_argument("--requests", type=int, default=1200, help="requests of each kind (default: 1200)")
    own.add_argument("--rounds", type=int, default=3, help="rounds that they are cut into (default: 3)")
    own.add_argument("--clients", type=int, nargs="+", default=[1, 4], help="at a time (default: 1 4)")
    own = _kind(kinds, "query", _query, query.__doc__)
    own.add_argument("--photos", type=int, default=10_000, help="photos of the shop (default: 10000)")
    own.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64], help="default: 1 16 64")
    own.add_argument("--seconds", type=float, default=8.0, help="of each round (default: 8)")
    own.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    own.add_argument("--repeat", action="store_true", help="ask the same few prompts again and again")
    own.add_argument("--peer", choices=["monolith"], help="measure it beside the service, in turns")
    _add_backend(own)
    _add_config(own)
    own = _kind(kinds, "text", _text, text.__doc__)
    own.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="of the bare encoder (default: 1 2)"
    )
    own.add_argument("--callers", type=int, nargs="+", default=[16, 32, 64], help="default: 16 32 64")
    own.add_argument("--seconds", type=float, default=5.0, help="of each round of callers (default: 5)")
    own.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    _add_backend(own)
    _add_device(own)
    _add_config(own)
    own = _kind(kinds, "image", _image, image.__doc__)
    own.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    own.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    _add_device(own)
    _add_config(own)
    own = _kind(kinds, "search", _search, search.__doc__, model=False)
    sizes = [1_000, 10_000, 100_000]
    own.add_argument(
        "--sizes", type=int, nargs="+", default=sizes, help="photos (default: 1000 10000 100000)"
    )
    own.add_argument("--queries", type=int, default=60, help="of each kind in each round (default: 60)")
    own.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    for name in CollectionArgs.model_fields:
        option = f"--{name.replace('_', '-')}"
        own.add_argument(option, type=int, help="of the collections (default: the config's)")
    _add_config(own)
    own = _kind(kinds, "filters", _filters, filters.__doc__, model=False)
    own.add_argument("--photos", type=int, default=20_000, help="of the shop (default: 20000)")
    own.add_argument("--queries", type=int, default=60, help="of each kind (default: 60)")
    own.add_argument("--parts-only", action="store_true", help="leave the whole service out")
    own = _kind(kinds, "accuracy", _accuracy, accuracy.__doc__)
    own.add_argument(
        "--each", type=int, default=2, help="drawings of a kind, colour and pattern (default: 2)"
    )
    own.add_argument("--seed", type=int, default=0, help="of drawings and sentences")
    own = _kind(kinds, "decode", _decode, decoding.__doc__)
    own.add_argument("--photos", type=int, default=8, help="of each size (default: 8)")
    own.add_argument("--rounds", type=int, default=5, help="rounds of each (default: 5)")
    own = _kind(kinds, "handover", _handover, handover.__doc__)
    own.add_argument("--rounds", type=int, default=30, help="of 5 calls each (default: 30)")
    own = _kind(kinds, "scale", _scale, scale.__doc__)
    own.add_argument("--nodes", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    own.add_argument("--rounds", type=int, default=1, help="at each number of nodes (default: 1)")
    own.add_argument("--seconds", type=float, default=10.0, help="of queries in each round (default: 10)")
    own = _kind(kinds, "autoscale", _autoscale, autoscale.__doc__)
    own.add_argument(
        "--towers", choices=["sleeping", "real"], default="sleeping", help="see above (default: sleeping)"
    )
    own.add_argument(
        "--deployment", choices=[EMBEDDER, INGRESS], default=EMBEDDER, help=f"(default: {EMBEDDER})"
    )
    own.add_argument("--replicas", type=int, default=3, help="N, the most (default: 3)")
    own.add_argument(
        "--ongoing", type=float, default=1.0, help="target_ongoing_requests, calls of a replica (default: 1)"
    )
    own.add_argument(
        "--rates", type=float, nargs=2, metavar=("LOW", "HIGH"), help="requests a second (default: see above)"
    )
    own = _kind(kinds, "memory", _memory, memory.__doc__)
    own.add_argument(
        "--lines", type=int, nargs=2, default=[1000, 100_000], help="of both files (default: 1000 100000)"
    )
    return parser


def _add_backend(own: argparse.ArgumentParser) -> None:
    choices = ["torch", "cuda_graphs", "openvino"]
    own.add_argument("--backend", choices=choices, default="torch", help="for prompts (default: torch)")


def _add_device(own: argparse.ArgumentParser) -> None:
    own.add_argument("--device", help="of the tower: cpu, cuda, cuda:1, … (default: the config's)")


def _add_config(own: argparse.ArgumentParser) -> None:
    own.add_argument("--config", type=Path, default=CONFIG, help="of the service (default: local.yaml)")


def _kind(
    kinds: Any, name: str, measure: Any, text: str | None, *, model: bool = True
) -> argparse.ArgumentParser:
    own: argparse.ArgumentParser = kinds.add_parser(
        name,
        help=(text or "").splitlines()[0],
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.set_defaults(measure=measure)
    if model:
        shape = "random weights, FashionCLIP's shape; see above"
        own.add_argument("--model", help=f"a checkpoint's directory (default: {shape})")
    own.add_argument("--check", action="store_true", help="end with status 1 where a limit is missed")
    own.add_argument(
        "--output",
        type=Path,
        default=Path("benchmark-results"),
        help="directory of the results (default: benchmark-results)",
    )
    own.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return own


if __name__ == "__main__":
    sys.exit(main())
