"""PostgreSQL and Chroma as a script needs them, whether a service runs beside it or not."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from configs.serving import AppArgs
from configs.settings import Settings
from db import index_truth, index_versions
from db.session import Database, allow_long_statements
from db.vectors import VectorStore
from models.errors import ConfigurationError, NotFound
from models.image import IndexVersion
from scripts.named_database import existing_database
from serve_app.data_directory import DataDirectory
from serve_app.local_services import LocalChroma


@dataclass(frozen=True)
class OpenedIndex:
    """``args``: the configuration's."""

    database: Database
    vectors: VectorStore
    args: AppArgs


@dataclass(frozen=True)
class ShopCollection:
    """One shop in one version, with the number of photos that the shop has."""

    version: IndexVersion
    shop_id: int
    email: str
    photos: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``opened_index`` and ``collections`` read, and ``--json``."""
    where = "the data directory of a local service, running or not; else the environment names the servers"
    parser.add_argument("--data-dir", type=Path, help=where)
    parser.add_argument(
        "--config", type=Path, help="the service's config (configs/*.yaml), if not the defaults"
    )
    parser.add_argument("--shop", metavar="EMAIL", help="only this shop's")
    parser.add_argument(
        "--version", type=int, metavar="ID", help="only that index version's (default: the live)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


@contextmanager
def opened_index(arguments: argparse.Namespace) -> Iterator[OpenedIndex]:
    """Raises ConfigurationError where nothing names the servers."""
    args = _configured(arguments.config)
    with (
        existing_database(arguments.data_dir, connections=2) as database,
        _chroma(arguments.data_dir) as address,
    ):
        yield OpenedIndex(database, VectorStore(address, args.collection), args)


def collections(index: OpenedIndex, email: str | None, version_id: int | None) -> list[ShopCollection]:
    """The live version's, or that version's, of one shop or of all. Raises NotFound."""
    with index.database.transaction() as session:
        allow_long_statements(session)
        live = index_versions.live(session)
        version = live if version_id is None else session.get(IndexVersion, version_id)
        shops = index_truth.shops(session)
    if version is None:
        which = "There is no live index version yet: start the service once"
        raise NotFound(f"{which}." if version_id is None else f"There is no index version {version_id}.")
    if email is not None:
        shops = [shop for shop in shops if shop[1] == email.strip().lower()]
        if not shops:
            raise NotFound(f"There is no shop with the e-mail address {email}.")
    return [ShopCollection(version, *shop) for shop in shops]


def _configured(path: Path | None) -> AppArgs:
    if path is None:
        return AppArgs()
    from serve_app.local_config import load_config  # imports Ray, which takes seconds

    return load_config(path).args


@contextmanager
def _chroma(data_dir: Path | None) -> Iterator[str]:
    running = DataDirectory(data_dir).running() if data_dir is not None else None
    address = running.chroma_url if running is not None else Settings().chroma_url
    if running is not None or data_dir is None:
        if address is None:
            raise ConfigurationError("No search index is named. Give --data-dir DIR, or set CHROMA_URL.")
        yield address
        return
    server = LocalChroma(data_dir)
    try:
        yield server.start()
    finally:
        server.stop()
