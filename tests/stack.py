"""The real service as a newcomer starts it: ``python -m serve_app`` in a process of its own."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import httpx
import psutil
import pytest
import yaml
from sqlalchemy import Connection, NullPool, create_engine, text

from configs.serving import CollectionArgs
from configs.settings import environment_names
from db import keys
from db.media import MediaStore
from db.session import Database
from db.vectors import VectorStore
from scripts.create_shop import create_shop
from scripts.native_servers import NativeServers
from serve_app.secrets import KeyMint
from tests.mail_server import MailServer
from tests.shop_client import ShopClient

PROJECT = Path(__file__).resolve().parents[1]
DEMO_MODEL = "assets/demo-clip"
START_PATIENCE_S = 240.0
STOP_LIMIT_S = 15.0
OF_A_SERVICE = environment_names() | {"RAY_ADDRESS"}
# "cluster": the session's service has the production config and servers of its own (make test-stack).
PROFILE = os.environ.get("STACK", "local")


def environment(**extra: str) -> dict[str, str]:
    """This process's, without what would point a launcher at another service."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in OF_A_SERVICE and not name.startswith("RAY_")
    }
    return inherited | extra


def processes_naming(*texts: str) -> list[psutil.Process]:
    """Processes that have one of the texts in their command line; zombies have none."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            command = " ".join(process.cmdline())
            if process.pid != os.getpid() and any(text in command for text in texts):
                found.append(process)
    return found


def nothing_left(*texts: str, patience_s: float = 3.0) -> list[str]:
    """The command lines of what is still there after a moment; empty is good."""
    deadline = time.monotonic() + patience_s
    while True:
        left = []
        for process in processes_naming(*texts):
            with suppress(psutil.NoSuchProcess):
                left.append(" ".join(process.cmdline())[:200])
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _short_directory() -> Path:
    """One launcher's temporary directory: the paths of Ray's sockets leave it 9 characters."""
    while True:
        path = Path("/tmp") / secrets.token_hex(2)
        with suppress(FileExistsError):
            path.mkdir()
            return path


@dataclass
class Stack:
    """One launcher; ``lines`` is what it has written so far. ``servers``: those that it did not start."""

    data_dir: Path
    scratch_parent: Path
    process: subprocess.Popen[bytes]
    url: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    servers: NativeServers | None = None
    _http: httpx.Client | None = None

    @property
    def lines(self) -> list[str]:
        return (self.scratch_parent / "stderr").read_text("utf-8").splitlines()

    @classmethod
    def launch(
        cls,
        data_dir: Path,
        *arguments: str,
        model: str | None = DEMO_MODEL,
        variables: dict[str, str] | None = None,
    ) -> Stack:
        """Start it; it is not ready yet. Its temporary files go into a directory of its own."""
        scratch_parent = _short_directory()
        of_model = [] if model is None else ["--model", model]
        command = [sys.executable, "-m", "serve_app", *arguments, "--data-dir", str(data_dir), *of_model]
        with (scratch_parent / "stderr").open("wb") as log:
            process = subprocess.Popen(
                command,
                # Not the project's directory, where a developer's .env may name other servers.
                cwd=scratch_parent,
                env=environment(TMPDIR=str(scratch_parent), PYTHONPATH=str(PROJECT), **(variables or {})),
                stderr=log,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        return cls(data_dir.resolve(), scratch_parent, process, variables=variables or {})

    @classmethod
    def start(cls, data_dir: Path, *arguments: str, model: str | None = DEMO_MODEL) -> Stack:
        stack = cls.launch(data_dir, *(arguments or ("--port", "0")), model=model)
        stack.wait_until_ready()
        return stack

    def wait_for(self, words: str, patience_s: float = START_PATIENCE_S) -> str:
        """The first line that holds the words."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            for line in self.lines:
                if words in line:
                    return line
            assert self.process.poll() is None, (self.process.returncode, self.lines)
            time.sleep(0.05)
        raise AssertionError(f"no line with {words!r}: {self.lines}")

    def wait_until_ready(self) -> None:
        found = re.search(r"http://\S+", self.wait_for("Ready after"))
        assert found is not None
        self.url = found.group()

    def finish(self, patience_s: float = START_PATIENCE_S) -> int:
        """The exit status, once it has ended by itself."""
        try:
            return self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs: {self.lines}") from None

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to stop as a person or an init system does; returns the seconds that it took."""
        self.close()
        started = time.monotonic()
        self.process.send_signal(kind)
        status = self.finish(STOP_LIMIT_S + 30)
        took_s = time.monotonic() - started
        assert status == 0, (status, self.lines)
        self.assert_nothing_left()
        return took_s

    def assert_nothing_left(self) -> None:
        assert nothing_left(str(self.data_dir), f"{self.scratch_parent}/") == []
        assert list(self.scratch_parent.glob("fr-*")) == []

    def assert_refused(self) -> str:
        """It ended with one line that says what to do, the last one, and left nothing; returns the line."""
        assert self.finish() == 2, self.lines
        errors = [line for line in self.lines if line.startswith("error: ")]
        assert self.lines[-1:] == errors, self.lines
        assert not any("Traceback" in line for line in self.lines)
        self.assert_nothing_left()
        return errors[0]

    def kill_everything(self) -> None:
        """For a test that failed half-way."""
        self.close()
        left = processes_naming(str(self.data_dir), f"{self.scratch_parent}/")
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.remove_scratch()

    def remove_scratch(self) -> None:
        """Remove its temporary files, where its data directory belongs to another."""
        shutil.rmtree(self.scratch_parent, ignore_errors=True)

    @property
    def secret_key(self) -> str:
        return (self.data_dir / "secret-key").read_text("utf-8").strip()

    @property
    def database_url(self) -> str:
        """Read from the server's own file: joining it as a user would keep it alive at the end."""
        if self.servers is not None:
            return self.servers.database_url
        socket_dir = (self.data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[4]
        return f"postgresql+psycopg2://postgres@/fashion?host={socket_dir}"

    @property
    def postgres_log(self) -> Path:
        return self.data_dir / "postgres" / "log" if self.servers is None else self.servers.postgres_log

    @property
    def media_url(self) -> str:
        return self.variables.get("MEDIA_URL") or (self.data_dir / "media").as_uri()

    @property
    def media(self) -> MediaStore:
        return MediaStore(self.media_url)

    def files(self, prefix: str) -> list[str]:
        """Keys of all files under the prefix."""
        store, root = fsspec.core.url_to_fs(self.media_url, use_listings_cache=False)
        found = store.find(f"{root}/{prefix}")
        return sorted(str(path).removeprefix(f"{root}/") for path in found)

    @property
    def chroma_url(self) -> str:
        return str(json.loads((self.data_dir / "running.json").read_text("utf-8"))["chroma_url"])

    def execute(self, statement: str, **values: Any) -> list[Any]:
        """Rows of one statement in the service's own database."""
        with self.transaction() as connection:
            result = connection.execute(text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One in the service's own database."""
        engine = create_engine(self.database_url, poolclass=NullPool)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def embedded_when(self, shop_id: int) -> dict[tuple[int, str], datetime]:
        """When each photo's vector was computed, by image id and model key."""
        query = (
            "SELECT image_id, model_key, e.created_at FROM embedding e JOIN image ON id = image_id "
            "WHERE shop_id = :shop"
        )
        return {(image_id, key): when for image_id, key, when in self.execute(query, shop=shop_id)}

    def vectors(self) -> VectorStore:
        return VectorStore(self.chroma_url, CollectionArgs())

    def processes(self, title: str) -> list[psutil.Process]:
        """This stack's processes whose command line holds the words; other stacks run on the machine."""
        found = []
        for process in processes_naming(title):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                family = " ".join(" ".join(one.cmdline()) for one in (process, *process.parents()))
                if f"{self.scratch_parent}/" in family or str(self.data_dir) in family:
                    found.append(process)
        return found

    @property
    def http(self) -> httpx.Client:
        """One client for all shops and threads; closed with the stack."""
        if self._http is None:
            self._http = httpx.Client(base_url=self.url, timeout=60.0)
        return self._http

    def new_shop(self) -> ShopClient:
        email = f"{uuid.uuid4().hex}@example.com"
        return self.client(create_shop(self.database_url, self.secret_key, "Test shop", email))

    def client(self, key: str) -> ShopClient:
        """The shop of a key."""
        database = Database(self.database_url, connections=1)
        try:
            with database.transaction() as session:
                found = keys.find_state(session, KeyMint(self.secret_key).public_id(key) or "")
        finally:
            database.close()
        assert found is not None
        return ShopClient(self.http, found.shop_id, key)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


def quick_config(path: Path, lease_s: float = 5.0, profile: str = "local") -> Path:
    """configs/PROFILE.yaml with short leases and health checks, for what was killed and what it held."""
    document = yaml.safe_load((PROJECT / "configs" / f"{profile}.yaml").read_text("utf-8"))
    args = document["applications"][0]["args"]
    args.setdefault("indexer", {})["lease_s"] = lease_s
    # Webhooks of tests go to this machine; one that hangs is posted again soon.
    args["fetch"] = {"allow_http": True, "allowed_networks": ["127.0.0.0/8"], "timeout_s": 2.0}
    args.setdefault("imports", {})["batch_rows"] = 8  # small feeds are many batches, too
    args.setdefault("search", {})["floor_quiet_s"] = 0.2
    args.setdefault("audit", {})["poll_interval_s"] = 1.0
    args.setdefault("limits", {})["signups_per_hour"] = 1000  # all tests sign up from one address
    args.setdefault("accounts", {}).update(mail_retry_s=0.2, mail_lease_s=2.0)
    for deployment in document["applications"][0]["deployments"]:
        deployment["health_check_period_s"] = 1.0  # a replica that was killed is missed at the next one
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeServers | None]:
    """None: the launcher starts its own."""
    if PROFILE == "local":
        yield None
        return
    servers = NativeServers(tmp_path_factory.mktemp("servers"), mail=False)
    with pytest.MonkeyPatch.context() as patch:
        try:
            servers.start()
            # Scripts that tests start read photos, too.
            for name in servers.variables:
                if name.startswith("AWS_"):
                    patch.setenv(name, servers.variables[name])
            yield servers
        finally:
            servers.stop()


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, mail_server: MailServer, servers: NativeServers | None
) -> Iterator[Stack]:
    """One real service for all tests of the session; each test brings its own shop."""
    directory = tmp_path_factory.mktemp("stack")
    config = quick_config(directory / "quick.yaml", profile=PROFILE)
    arguments = (str(config), "--port", "0")
    # Serve would hold back a thousand lines of each log, and keep an Ingress that stops for 30 s.
    variables = mail_server.environment(
        RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE="1", RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S="5"
    )
    variables |= servers.variables if servers is not None else {}
    running = Stack.launch(directory / "data", *arguments, variables=variables)
    running.servers = servers
    try:
        running.wait_until_ready()
        yield running
        running.stop()
    finally:
        running.kill_everything()


@pytest.fixture(scope="session")
def second_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A further one, for a test that changes its model and, right after it, one that ends it."""
    directory = tmp_path_factory.mktemp("second-stack")
    running = Stack.launch(directory / "data", str(quick_config(directory / "quick.yaml")), "--port", "0")
    try:
        running.wait_until_ready()
        yield running
        if running.process.poll() is None:
            running.stop()
    finally:
        running.kill_everything()


@pytest.fixture
def shop(stack: Stack) -> ShopClient:
    return stack.new_shop()


@pytest.fixture
def new_shop(stack: Stack) -> Callable[[], ShopClient]:
    return stack.new_shop
