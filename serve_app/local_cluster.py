"""Ray and Serve of one launcher."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import ray
from ray import serve
from ray._private import utils as ray_utils
from ray.exceptions import RayError, RayTaskError
from ray.serve._private.api import serve_start
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ServeDeploySchema

from models.errors import ConfigurationError
from serve_app.data_directory import write_secret

logger = logging.getLogger("serve_app")
READY_POLL_S = 0.2
ANSWER_S = 3.0
DRAIN_S = 6.0
# Shares are bookkeeping: with less, the replicas would take all of it and background tasks never start.
LEAST_CPUS = 2
KILL_AFTER_S = 2.0
FAILED_STATES = {"DEPLOY_FAILED", "UNHEALTHY"}


class LocalCluster:
    """A Ray of this launcher's own, with one Serve application. ``logs`` keeps what the replicas wrote."""

    def __init__(self, scratch: Path, logs: Path) -> None:
        self._scratch = scratch
        self._logs = logs

    def start(self, metrics_port: int) -> str:
        """Start Ray; returns its address. Raises ConfigurationError.

        ``metrics_port``: where it answers Prometheus.
        """
        _ensure_token()
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            with _signal_handlers_kept():
                context = ray.init(
                    address="local",
                    namespace="serve",
                    num_cpus=max(os.cpu_count() or 1, LEAST_CPUS),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(self._scratch),
                    _metrics_export_port=metrics_port,
                )
        except (RuntimeError, OSError, ValueError, RayError) as error:
            raise ConfigurationError(f"Ray did not start: {_first_line(error)} See {self._logs}.") from error
        return str(context.address_info["gcs_address"])

    def deploy(self, schema: ServeDeploySchema) -> None:
        """Hand the application to Serve, which starts it in the background. Raises ConfigurationError."""
        try:
            client = serve_start(
                http_options=schema.http_options.model_dump(), proxy_location=schema.proxy_location
            )
            client.deploy_apps(schema, _blocking=False)
        except (RuntimeError, OSError, ValueError, RayError, RayServeException) as error:
            raise ConfigurationError(
                f"Serve did not start: {_first_line(error)} See {self._logs}."
            ) from error

    def wait_until_ready(
        self, app_name: str, url: str, timeout_s: float, look_up: Callable[[], None]
    ) -> None:
        """Return once ``/readyz`` is 200 through the front door. Raises ConfigurationError.

        ``look_up`` is called in between, and may raise to give up.
        """
        deadline = time.monotonic() + timeout_s
        last = "no answer yet"
        while time.monotonic() < deadline:
            look_up()
            try:
                answer = httpx.get(f"{url}/readyz", timeout=ANSWER_S)
                if answer.status_code == 200:
                    return
                last = f"/readyz answered {answer.status_code}"
            except httpx.HTTPError as error:
                last = f"/readyz: {type(error).__name__}"
            self.raise_if_failed(app_name)
            time.sleep(READY_POLL_S)
        raise ConfigurationError(
            f"The service was not ready after {timeout_s:g} s ({last}). See {self._logs}."
        )

    def stop(self) -> None:
        """Let running requests end, for a moment; then stop Ray, and what it left behind."""
        if ray.is_initialized():
            _drain(time.monotonic() + DRAIN_S)
            ray.shutdown()
        kill_leftovers(self._scratch)
        self._keep_logs()

    def _keep_logs(self) -> None:
        """Ray's folder goes at the end; what the last run's replicas wrote stays."""
        kept = self._logs / "serve"
        shutil.rmtree(kept, ignore_errors=True)
        with suppress(OSError, shutil.Error):
            shutil.copytree(self._scratch / "session_latest" / "logs" / "serve", kept)

    def raise_if_failed(self, app_name: str) -> None:
        application = serve.status().applications.get(app_name)
        if application is None or application.status.value not in FAILED_STATES:
            return
        parts = [part.message for part in application.deployments.values() if part.message]
        reason = failure_reason([application.message, *parts])
        raise ConfigurationError(f"The service did not start: {reason} See {self._logs}.")


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray's own handler of SIGTERM would exit in the middle of things, and Ray has no option against it."""
    install = ray_utils.set_sigterm_handler
    ray_utils.set_sigterm_handler = lambda _: None
    try:
        yield
    finally:
        ray_utils.set_sigterm_handler = install


def kill_leftovers(scratch: Path) -> None:
    """End processes that name this launcher's folder; HAProxy outlives a Serve that was stopped hard."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(scratch) in part for part in process.info["cmdline"] or ()):
            found.append(process)
            with suppress(psutil.NoSuchProcess):
                process.terminate()
    for process in psutil.wait_procs(found, timeout=KILL_AFTER_S)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _drain(deadline: float) -> None:
    """Wait for the replicas to finish their requests, but not, as Serve would, for its proxies as well."""
    try:
        for name in serve.status().applications:
            serve.delete(name, _blocking=False)
        while time.monotonic() < deadline and _replicas_left():
            time.sleep(READY_POLL_S)
    except (RayError, RayServeException) as error:
        logger.warning("the replicas did not stop cleanly: %s", type(error).__name__)


def _replicas_left() -> bool:
    applications = serve.status().applications.values()
    return any(
        part.replica_states for application in applications for part in application.deployments.values()
    )


def failure_reason(messages: Iterable[str]) -> str:
    """The one line of Serve's messages, which hold remote tracebacks, that says what is wrong."""
    lines = [line.strip() for text in messages for line in text.splitlines() if line.strip()]
    ours = [line.split("ConfigurationError: ", 1)[1] for line in lines if "ConfigurationError: " in line]
    others = [line for line in lines if not line.startswith("For further information")]
    return next(reversed(ours or others), "it gave no reason.")


def _first_line(error: Exception) -> str:
    """What went wrong; of an actor's error, without the actor's name and traceback around it."""
    if isinstance(error, RayTaskError):
        error = error.cause
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _ensure_token() -> None:
    """Ray refuses strangers: whoever reaches its ports could otherwise run code here."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", ""))
    if os.environ.get("RAY_AUTH_MODE") == "token" and path.name:
        write_secret(path, secrets.token_hex(32))
