"""Index all photos anew with another model, beside the running service, and let it answer (blue/green).

    python -m scripts.reindex --model NAME --revision R --data-dir data
    python -m scripts.reindex --status | --rollback | --prune | --abort

Give the same command again after whatever stopped it: it goes on. Exit status: 0 done, 3 the gate stopped the
flip (the new version stays, filled, so that --force needs no time), 1 anything else; the last line says what.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from dotenv import load_dotenv

from configs.serving import AppArgs
from configs.settings import SERVE_URL, Settings
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError, ConfigurationError
from scripts.console import log, out
from scripts.join_service import join_service
from scripts.named_database import named_database
from scripts.reindexing.checked_model import checked_model
from scripts.reindexing.show import show_outcome, show_versions, watching
from serve_app.data_directory import DataDirectory
from serve_app.reindexing.hold import Hold, holding
from serve_app.reindexing.parts import Options, Outcome, ReindexParts, Stopped, Watcher
from serve_app.reindexing.run_reindex import reindex
from serve_app.reindexing.upkeep import former_context, give_up, prune, status
from serve_app.served_model import ServedModel

STOPPED_BY_GATE = 3


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    for name in ("revision", "no_flip", "force"):
        if getattr(arguments, name) and not arguments.model:
            parser.error(f"--{name.replace('_', '-')} goes with --model")
    load_dotenv(".env")
    stop = threading.Event()
    try:
        if arguments.status:
            return _show_status(arguments)
        join_service(arguments.data_dir)
        _stop_on_signals(stop)  # after Ray, which sets a handler of its own
        return _change(arguments, stop)
    except (AppError, Stopped) as error:
        if arguments.json:
            print(json.dumps({"event": "error", "message": str(error)}), flush=True)  # noqa: T201
        log.print(f"error: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        return 1


def _stop_on_signals(stop: threading.Event) -> None:
    """The first one asks for an end in order, a second one ends it at once."""

    def ask(number: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        log.print(f"{signal.Signals(number).name}: stopping ...", markup=False)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)


def _change(arguments: argparse.Namespace, stop: threading.Event) -> int:
    from scripts.reindexing.cluster import service_args

    args, model = service_args(), None
    if arguments.model:
        model = checked_model(arguments.model, arguments.revision, args.model.hub_timeout_s)
    database = Database.configured(connections=4)
    try:
        request = _request(arguments, model)
        with watching(as_json=arguments.json) as watcher, holding(database, request, stop) as hold:
            parts = _parts(arguments, args, database, watcher, hold)
            if arguments.prune or arguments.abort:
                done: Outcome | list[int] = prune(parts, hold) if arguments.prune else [_abort(parts)]
            elif arguments.rollback:
                former = former_context(parts).model
                done = reindex(parts, hold, former, Options(report_only=True))
            else:
                assert model is not None
                done = reindex(parts, hold, model, Options(not arguments.no_flip, arguments.force))
    finally:
        database.close()
    if isinstance(done, Outcome):
        show_outcome(done, as_json=arguments.json)
        return STOPPED_BY_GATE if done.state == "stopped" else 0
    _show_removed(arguments, done)
    return 0


def _abort(parts: ReindexParts) -> int:
    return give_up(parts.database, parts.models)


def _show_removed(arguments: argparse.Namespace, versions: list[int]) -> None:
    if arguments.json:
        event = "pruned" if arguments.prune else "aborted"
        print(json.dumps({"event": "result", "state": event, "versions": versions}), flush=True)  # noqa: T201
        return
    if arguments.abort:
        out.print(f"Version {versions[0]} is given up. What it holds stays until --prune.", markup=False)
    elif versions:
        out.print(f"Removed: version {', '.join(map(str, versions))}.", markup=False)
    else:
        out.print("No version is retired: nothing to remove.", markup=False)


def _request(arguments: argparse.Namespace, model: ServedModel | None) -> dict[str, str]:
    """What makes two commands the same one."""
    if model is not None:
        return {"action": "reindex", "model": model.source, "revision": model.revision}
    return {"action": "rollback" if arguments.rollback else "prune" if arguments.prune else "abort"}


def _parts(
    arguments: argparse.Namespace, args: AppArgs, database: Database, watcher: Watcher, hold: Hold
) -> ReindexParts:
    from scripts.reindexing.cluster import RunningModels

    address = Settings().chroma_url
    if address is None:
        raise ConfigurationError("CHROMA_URL is not set. Set it to the Chroma server's address.")
    running = DataDirectory(arguments.data_dir).running() if arguments.data_dir else None
    url = arguments.url or (running.url if running is not None else SERVE_URL)
    models = RunningModels(url.rstrip("/"), args.timeouts.embed_s, share=arguments.share, hold=hold)
    return ReindexParts(database, VectorStore(address, args.collection), args, models, watcher)


def _show_status(arguments: argparse.Namespace) -> int:
    with named_database(arguments.data_dir) as address:
        database = Database(address, connections=1)
        try:
            found = status(database)
            if arguments.json:
                print(json.dumps(found), flush=True)  # noqa: T201
            else:
                show_versions(found)
        finally:
            database.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.reindex",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model", metavar="NAME", help="a hub name, or a directory in Hugging Face CLIP format"
    )
    what.add_argument("--status", action="store_true", help="show versions, and what is under way")
    what.add_argument(
        "--rollback", action="store_true", help="catch up with the newest retired version, and flip"
    )
    what.add_argument("--prune", action="store_true", help="remove retired versions and all that they hold")
    what.add_argument("--abort", action="store_true", help="give the version up that is being built")
    parser.add_argument(
        "--revision", metavar="R", help="commit of a hub model; of a directory: its digest, checked"
    )
    parser.add_argument("--no-flip", action="store_true", help="fill and compare only")
    parser.add_argument("--force", action="store_true", help="flip whatever the gate says")
    parser.add_argument("--share", action="store_true", help="embed by the new model's online embedders")
    parser.add_argument("--json", action="store_true", help="a JSON object a line, for machines")
    parser.add_argument("--data-dir", type=Path, help="the data directory of a running local service")
    parser.add_argument("--url", help=f"where requests are answered (default: the service's, or {SERVE_URL})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
