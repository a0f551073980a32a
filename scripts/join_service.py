"""A script beside the running service, on the machines of its Ray cluster."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from models.errors import ConfigurationError
from serve_app.data_directory import DataDirectory
from serve_app.local_environment import set_speed_variables

APP_NAME = "fashion"


def join_service(data_dir: Path | None, *, on_own_loop: bool = False) -> None:
    """Become a driver of the service's Ray cluster: of the local one, or of the one RAY_ADDRESS names.

    ``on_own_loop``: the script awaits its handles' answers on one event loop, as the service's parts do.
    Raises ConfigurationError where no service is named, or none runs there.
    """
    set_speed_variables()
    # Most scripts need no fast router; one of its own lets them wait for answers without an event loop.
    os.environ["RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP"] = "0" if on_own_loop else "1"
    # When a script ends, a thread of a handle would start a Ray of its own.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    address = os.environ.get("RAY_ADDRESS")
    if data_dir is not None:
        directory = DataDirectory(data_dir)
        running = directory.running()
        if running is None:
            raise ConfigurationError(f"No service runs on {directory.path}. Start it: python -m serve_app.")
        address = running.ray_address
        os.environ.update(running.environment())
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(directory.ray_token)
    if address is None:
        raise ConfigurationError("No service is named. Give --data-dir DIR, or set RAY_ADDRESS.")
    import ray
    from ray import serve

    keep_stdout_clean()
    logging.getLogger(serve.__name__).setLevel(logging.ERROR)
    ray.init(address=address, namespace="serve", log_to_driver=False, logging_level=logging.ERROR)


def keep_stdout_clean() -> None:
    """Show the cluster's messages on standard error: standard output is for a script's answers.

    Ray prints them to standard output, whatever ``log_to_driver`` says (``listen_error_messages``).
    """
    from ray._private import worker

    show = worker.print_to_stdstream

    def show_as_error(data: dict[str, Any], ignore_prefix: bool) -> None:
        show({**data, "is_err": True}, ignore_prefix)

    worker.print_to_stdstream = show_as_error
