"""A service of its own, with a model of FashionCLIP's shape, and what benchmarks ask of its database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import text

from configs.serving import AppArgs
from db import keys
from db.session import Database
from models.errors import ConfigurationError
from scripts.console import log
from scripts.create_shop import create_shop
from scripts.measurement.random_checkpoint import FASHION_CLIP_SHAPE, make_checkpoint
from scripts.own_service import start, stop, wait_until_it_runs
from serve_app.data_directory import DataDirectory, RunningService

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "local.yaml"
QUIET_TIMEOUT_S = 300.0
PREFIX = "benchmark"
POLL_S = 0.1
# Photos and floors that background work still has to see to.
UNSETTLED = text(
    """
    SELECT (SELECT count(*) FROM image WHERE status IN ('pending', 'processing', 'deleting'))
         + (SELECT count(*) FROM score_floor WHERE revision <> computed_revision)
    """
)


@dataclass(frozen=True)
class Launcher:
    """``module`` starts a service whose configs name the application at ``import_path``."""

    module: str
    import_path: str


SERVICE = Launcher("serve_app", "serve_app.main:build_app")


@dataclass(frozen=True)
class Shop:
    """``key``: its secret key."""

    id: int
    email: str
    key: str


@dataclass(frozen=True)
class Workbench:
    """``checkpoint`` is served in ``data``, configured with ``args``; ``pid``: the launcher's."""

    data: DataDirectory
    checkpoint: Path
    running: RunningService
    pid: int
    args: AppArgs
    database: Database

    @property
    def media(self) -> Path:
        """Where files lie whose key begins with ``PREFIX``."""
        return self.data.path / "media" / PREFIX

    def new_shop(self, name: str) -> Shop:
        """A shop of that name, which nobody has yet."""
        email = f"{name}@example.com"
        key = create_shop(self.running.database_url, self.data.secret_key(), name, email)
        with self.database.transaction() as session:
            shop = keys.find_shop(session, email)
        if shop is None or shop.id is None:
            raise AssertionError("the shop was made")
        return Shop(shop.id, email, key)

    def client(self, shop: Shop) -> httpx.Client:
        """Asks as that shop."""
        headers = {"Authorization": f"Bearer {shop.key}"}
        return httpx.Client(base_url=self.running.url, headers=headers, timeout=60)

    def wait_until_quiet(self) -> None:
        """Nothing is left for background work: what is measured next meets an idle service."""
        deadline = time.monotonic() + QUIET_TIMEOUT_S
        while time.monotonic() < deadline:
            with self.database.transaction() as session:
                if not session.scalar(UNSETTLED):
                    return
            time.sleep(POLL_S)
        raise ConfigurationError(f"Background work did not end within {QUIET_TIMEOUT_S:g} s.")


@contextmanager
def workbench(
    directory: Path, model: str | None, config: Path = CONFIG, *, launcher: Launcher = SERVICE
) -> Iterator[Workbench]:
    """Everything in ``directory``. ``model``: a checkpoint's directory; None makes one at random."""
    from serve_app.local_config import load_config

    if model is None:
        log.print("Making a checkpoint of FashionCLIP's shape with random weights ...")
        model = str(make_checkpoint(directory / "checkpoint", FASHION_CLIP_SHAPE))
    args = load_config(config, launcher.import_path).args
    data = DataDirectory(directory / "data")
    service = start(data, model, 0, config, launcher.module)
    try:
        running = wait_until_it_runs(data, service)
        database = Database(running.database_url, connections=2)
        try:
            yield Workbench(data, Path(model), running, service.pid, args, database)
        finally:
            database.close()
    finally:
        stop(service)
