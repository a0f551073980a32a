"""The local launcher: ``python -m serve_app [CONFIG] [--port] [--data-dir]``.

Starts what the environment does not name (PostgreSQL, Chroma, Ray), deploys the config, and stops all of
it again on Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from dotenv import load_dotenv
from pydantic import ValidationError
from sqlalchemy import make_url

from configs.serving import CollectionArgs
from configs.settings import Settings
from models.errors import AppError, ConfigurationError, DependencyUnavailable
from serve_app.data_directory import DataDirectory, RunningService, local_defaults
from serve_app.followed_file import FollowedFile
from serve_app.local_environment import (
    free_ports,
    require_free,
    scratch_directory,
    set_ray_variables,
    set_speed_variables,
)

if TYPE_CHECKING:
    from ray.serve.schema import ServeDeploySchema

    from configs.serving import AppArgs

PROJECT = Path(__file__).resolve().parents[1]
DEFAULT_CONFIG = PROJECT / "configs" / "local.yaml"
READY_TIMEOUT_S = 180.0
SUPERVISE_S = 1.0
INSIST_S = 0.5


def main(import_path: str = "serve_app.main:build_app") -> int:
    """0 after a clean stop, 2 when the service cannot start. ``import_path``: what its config must name."""
    arguments = _parser().parse_args()
    load_dotenv(arguments.env_file)
    launcher = Launcher(arguments, import_path)
    launcher.take_signals()
    try:
        with ExitStack() as stack:
            launcher.start(stack)
            launcher.serve_until_stopped()
    except AppError as error:
        _say(f"error: {error.message}")
        return 2
    except ValidationError as error:
        _say(f"error: {_wrong_variable(error)}")
        return 2
    except _Stopped:
        _say("Stopped before it was ready.")
        return 0
    _say("Stopped.")
    return 0


class _Stopped(BaseException):
    """A signal arrived while starting: unwind, stopping what was started."""


class Launcher:
    """Starts parts in order and registers how each is stopped; ExitStack stops them in reverse."""

    def __init__(self, arguments: argparse.Namespace, import_path: str) -> None:
        self._arguments, self._import_path = arguments, import_path
        self._directory = DataDirectory(arguments.data_dir)
        self._stop = threading.Event()
        self._interruptible = False

    def take_signals(self) -> None:
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(kind, self.on_signal)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def on_signal(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stop.set()
        # Ray's own handler, which ran before, sets an alarm that would end a slow clean-up half-way.
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._interruptible:
            # Python swallows what is raised inside a weak reference's callback or a __del__: raise it again.
            signal.setitimer(signal.ITIMER_REAL, INSIST_S)
            raise _Stopped

    def start(self, stack: ExitStack) -> None:
        """Raises ConfigurationError; the caller's stack stops what was started."""
        self._interruptible = True
        try:
            self._start(stack)
        finally:
            self._interruptible = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._raise_if_stopped()

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _start(self, stack: ExitStack) -> None:
        started = time.monotonic()
        scratch = scratch_directory()
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        set_speed_variables()
        set_ray_variables(scratch, self._directory.path)
        from serve_app.local_config import load_config

        config = load_config(self._arguments.config, self._import_path)
        host = self._arguments.host or config.host
        port = config.port if self._arguments.port is None else self._arguments.port
        port = port or free_ports(1)[0]
        require_free(host, port)
        if self._arguments.metrics_port:
            require_free("127.0.0.1", self._arguments.metrics_port, "--metrics-port")
        self._directory.create()
        os.environ.update(local_defaults(self._directory))
        self._check_redis()
        url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else host}:{port}"
        self._prepare_links(url)
        self._start_database(stack)
        self._start_chroma(stack)
        args = self._choose_model(config.args)
        self._start_ray(stack, scratch, url, config.app_name, config.deployable(args, host, port))
        took_s = time.monotonic() - started
        _say(f"Ready after {took_s:.1f} s: {url} (API: {url}/docs, data: {self._directory.path})")

    def serve_until_stopped(self) -> None:
        while not self._stop.wait(SUPERVISE_S):
            if self._chroma is not None:
                self._chroma.ensure_running()
            for line in self._links.new_lines():
                _say(line)
        _say("Stopping …")

    def _check_redis(self) -> None:
        """Only that the address is one: requests are served without Redis, too."""
        from serve_app.rate_counters import RedisCounters

        url = Settings().redis_url
        if url is not None:
            RedisCounters(url.get_secret_value())

    def _prepare_links(self, url: str) -> None:
        """Links in mails begin with this address; those that no mail server takes are shown here."""
        self._links = FollowedFile(self._directory.logs / "sign-up-links.log")
        os.environ.update(LOCAL_URL=url, LINK_LOG=str(self._links.path))
        settings = Settings()
        if settings.smtp_host is not None and settings.public_url is None:
            _say(f"NOTE: PUBLIC_URL is not set: links in mails lead to {url}, for this machine only.")

    def _start_database(self, stack: ExitStack) -> None:
        from db.migrate import upgrade
        from serve_app.local_services import LocalPostgres

        url = Settings().sqlalchemy_url()
        self._local_database = url is None
        if url is None:
            server = LocalPostgres(self._directory.path)
            stack.callback(server.stop)
            url = server.start()
            os.environ["DATABASE_URL"] = url
            _say("PostgreSQL: started")
        else:
            _say("PostgreSQL: the one that the environment names")
        try:
            upgrade(url)
        except DependencyUnavailable:
            raise ConfigurationError(
                "The PostgreSQL that the environment names does not answer or refuses the login. Start it, "
                "correct DATABASE_URL (or DB_*), or unset it to get a local one."
            ) from None

    def _start_chroma(self, stack: ExitStack) -> None:
        from serve_app.local_services import LocalChroma, lock_directory

        self._chroma: LocalChroma | None = None
        if Settings().chroma_url is None:
            self._chroma = LocalChroma(self._directory.path)
            stack.callback(self._chroma.stop)
            os.environ["CHROMA_URL"] = self._chroma.start()
            _say("Chroma: started")
        else:
            from db.vectors import VectorStore

            stack.callback(os.close, lock_directory(self._directory.path))
            try:
                VectorStore(Settings().chroma_url or "", CollectionArgs()).ping()
            except DependencyUnavailable:
                raise ConfigurationError(
                    "The Chroma server at CHROMA_URL does not answer. Start it, correct CHROMA_URL, or unset "
                    "it to get a local one."
                ) from None
            _say("Chroma: the one that the environment names")

    def _choose_model(self, args: AppArgs) -> AppArgs:
        """Decide once, so that every replica serves the same checkpoint."""
        from serve_app.startup import serving_context

        wanted = args.model
        if self._arguments.model is not None:
            changes = {"name": self._arguments.model, "revision": self._arguments.revision, "fallback": None}
            wanted = wanted.model_copy(update=changes)
        model = serving_context(args.model_copy(update={"model": wanted})).model
        _say(f"Model: {model.label}")
        if model.fell_back:
            _say(f"NOTE: {wanted.name} was not to be had when this data was first indexed, or is not now.")
            _say("      The bundled demo model stands in. It knows drawn garments only, not photographs.")
        chosen = wanted.model_copy(
            update={
                "name": model.source,
                "revision": None if Path(model.source).is_dir() else model.revision,
                "fallback": None,
                "fell_back": model.fell_back,
            }
        )
        return args.model_copy(update={"model": chosen})

    def _tidy_after_a_kill(self, scratch: Path) -> None:
        """End and remove what a launcher that was killed on this directory left behind."""
        from serve_app.local_cluster import kill_leftovers

        former = self._directory.replace_scratch(scratch)
        if former is not None:  # the directory's lock says that nobody else is here
            kill_leftovers(former)
            shutil.rmtree(former, ignore_errors=True)

    def _start_ray(
        self, stack: ExitStack, scratch: Path, url: str, app_name: str, schema: ServeDeploySchema
    ) -> None:
        from serve_app.local_cluster import LocalCluster

        self._tidy_after_a_kill(scratch)
        cluster = LocalCluster(scratch, self._directory.logs)
        stack.callback(cluster.stop)
        # A Ray that is interrupted half-way leaves processes behind: look for signals between its steps.
        self._interruptible = False
        self._raise_if_stopped()
        metrics_port = self._arguments.metrics_port or free_ports(1)[0]
        address = cluster.start(metrics_port)
        self.take_signals()  # Ray's native code took SIGTERM over, to end the process by an alarm
        self._raise_if_stopped()
        cluster.deploy(schema)
        cluster.wait_until_ready(app_name, url, READY_TIMEOUT_S, self._raise_if_stopped)
        stack.callback(self._directory.withdraw)
        settings = Settings()
        database_url = make_url(settings.sqlalchemy_url() or "").render_as_string(hide_password=False)
        metrics_urls = _metrics_urls(metrics_port, os.environ["RAY_SERVE_HAPROXY_METRICS_PORT"])
        _say(f"Metrics: {', '.join(metrics_urls)}")
        self._directory.announce(
            RunningService(
                os.getpid(),
                url,
                address,
                settings.chroma_url or "",
                database_url,
                settings.media_url or "",
                self._local_database,
                metrics_urls,
            )
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serve_app", description="Run the service on this machine."
    )
    parser.add_argument(
        "config", nargs="?", type=Path, default=DEFAULT_CONFIG, help="a Serve config (configs/*.yaml)"
    )
    parser.add_argument("--host", help="address to listen on (default: the config's)")
    parser.add_argument("--port", type=_port, help="port to listen on (default: the config's; 0: a free one)")
    parser.add_argument(
        "--metrics-port", type=_port, default=0, help="port for Prometheus (default: a free one)"
    )
    parser.add_argument(
        "--data-dir", type=Path, default=Path("data"), help="where local data is kept (default: data)"
    )
    parser.add_argument("--model", help="a hub name or a checkpoint directory, instead of the config's")
    parser.add_argument("--revision", help="the hub commit of --model")
    parser.add_argument(
        "--env-file", type=Path, default=Path(".env"), help="variables that are not set yet (default: .env)"
    )
    return parser


def _metrics_urls(*ports: int | str) -> tuple[str, ...]:
    """Ray's, with the service's own, and HAProxy's."""
    return tuple(f"http://127.0.0.1:{port}/metrics" for port in ports)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to 65535")
    return int(text)


def _wrong_variable(error: ValidationError) -> str:
    """The environment is the one input that is checked outside of ``load_config``."""
    first = error.errors(include_input=False)[0]
    name = "_".join(str(part) for part in first["loc"]).upper()
    return f"The environment variable {name} is not valid: {first['msg']}. Correct it."


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
