"""Apply a changed Serve config to the running service: replicas, queues and user_config, without a restart.

    python -m scripts.apply_config my.yaml --data-dir data

For a service of `python -m serve_app`; on a cluster, `serve deploy my.yaml` does the same. `args` are read
when processes start: a file with other ones is refused. Exit status 0: all is as the file says; 2: it is not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from models.errors import ConfigurationError
from scripts.command import run
from scripts.join_service import APP_NAME, join_service

if TYPE_CHECKING:
    from serve_app.local_config import LaunchConfig

PATIENCE_S = 90.0
POLL_S = 0.2


def main() -> int:
    return run(_parser(), _apply)


def _apply(arguments: argparse.Namespace) -> int:
    join_service(arguments.data_dir)  # before Serve is imported: it sets variables that count then
    from ray import serve
    from ray.serve._private.api import _get_global_client
    from ray.serve.schema import ServeDeploySchema, ServeInstanceDetails

    from serve_app.local_config import load_config

    config, client = load_config(arguments.config), _get_global_client()
    details = ServeInstanceDetails(**client.get_serve_details()).applications.get(APP_NAME)
    if details is None or details.deployed_app_config is None:
        raise ConfigurationError(f"No application '{APP_NAME}' runs in this Serve. Start the service first.")
    running = json.loads(details.deployed_app_config.model_dump_json(exclude_unset=True))
    application = changed_application(running, config)
    client.deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}), _blocking=False)
    counts = _wait(lambda: serve.status().applications[APP_NAME], application)
    sys.stdout.write("".join(f"{name}\t{count}\n" for name, count in counts.items()))
    return 0


def changed_application(running: dict[str, Any], config: LaunchConfig) -> dict[str, Any]:
    """The file's application with the arguments of the running one, whose model the launcher chose.

    Raises ConfigurationError where the file has other arguments: Serve would replace every process.
    """
    from configs.serving import AppArgs

    now = AppArgs.model_validate(running.get("args") or {})
    other = list(differences(now, config.args.model_copy(update={"model": now.model})))
    if other:
        raise ConfigurationError(
            f"{config.path}: {', '.join(f'args.{key}' for key in other)}: not what the service runs with, "
            "and read when its processes start. Start it anew with this file, or take the change out."
        )
    file: dict[str, Any] = config.schema.model_dump(mode="json", exclude_unset=True)["applications"][0]
    return {**file, "name": APP_NAME, "args": running.get("args") or {}}


def differences(one: BaseModel, other: BaseModel, place: str = "") -> Iterator[str]:
    """Dotted keys of two values of one class."""
    for name in type(one).model_fields:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, BaseModel):
            yield from differences(mine, theirs, f"{place}{name}.")
        elif mine != theirs:
            yield f"{place}{name}"


def _wait(status: Any, application: dict[str, Any]) -> dict[str, int]:
    """How many replicas each deployment has, once they are all there and none is left over."""
    from serve_app.local_cluster import FAILED_STATES, failure_reason

    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        now = status()
        if now.status.value in FAILED_STATES:
            parts = [part.message for part in now.deployments.values() if part.message]
            raise ConfigurationError(f"Serve did not apply it: {failure_reason([now.message, *parts])}")
        if now.status.value == "RUNNING":
            found = {name: part.replica_states for name, part in now.deployments.items()}
            if all(as_wanted(own, found[own["name"]]) for own in application.get("deployments") or []):
                return {name: states.get("RUNNING", 0) for name, states in found.items()}
        time.sleep(POLL_S)
    raise ConfigurationError(
        f"The replicas were not all as the file says after {PATIENCE_S:g} s. Is there room for them? "
        "python -m scripts.check_config says so of the file."
    )


def as_wanted(deployment: dict[str, Any], states: dict[str, int]) -> bool:
    """Whether so many replicas run as the config asks for, and no others are left."""
    running, scaling = states.get("RUNNING", 0), deployment.get("autoscaling_config")
    if sum(states.values()) != running:
        return False
    if scaling:
        return int(scaling.get("min_replicas", 1)) <= running <= int(scaling.get("max_replicas", 1))
    return running == (deployment.get("num_replicas") or 1)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.apply_config", description=summary)
    parser.add_argument("config", type=Path, help="the changed Serve config")
    parser.add_argument(
        "--data-dir", type=Path, help="that of the running service; without it RAY_ADDRESS names the cluster"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
