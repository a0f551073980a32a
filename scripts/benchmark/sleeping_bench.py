"""A service of its own with towers that sleep, on one Ray node or several."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from configs.serving import AppArgs
from configs.settings import environment_names
from db.session import Database
from scripts.benchmark.sleeping_encoder import Sleeps
from scripts.benchmark.sleeping_service import IMPORT_PATH
from scripts.benchmark.workbench import CONFIG, Launcher, Workbench
from scripts.join_service import join_service
from scripts.own_service import start, stop, wait_until_it_runs
from serve_app.data_directory import DataDirectory, RunningService
from serve_app.local_environment import scratch_directory, set_ray_variables, set_speed_variables

if TYPE_CHECKING:
    from scripts.benchmark.ray_nodes import Nodes

SLEEPING = Launcher("scripts.benchmark.sleeping_service", IMPORT_PATH)
PER_NODE = "Ingress", "TextEmbedder", "ImageEmbedder", "SearchIndex"
UNLIMITED = "key_requests_per_minute", "shop_requests_per_minute", "prompts_per_day"
PROMPTS_PER_CALL = 4
CLAIM_SIZE = 16  # small beside a round, which ends when the last claim does
LATER_S = 3600  # than this run: else new shops' floors and audits would take their share of each round
# Else Ray ends the processes of tasks after a second, and the next round would wait for new ones.
KEEP_WORKERS = {"RAY_idle_worker_killing_time_threshold_ms": "600000"}


@contextmanager
def sleeping_bench(directory: Path, checkpoint: Path, sleeps: Sleeps) -> Iterator[tuple[Workbench, Nodes]]:
    """Everything in ``directory``; this process joins the cluster."""
    with ExitStack() as stack:
        data, config = DataDirectory(directory / "data"), directory / "scale.yaml"
        scratch = scratch_directory()
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        # Chosen here rather than by the launcher, since all nodes need the same.
        set_speed_variables()
        set_ray_variables(scratch, data.path)
        os.environ.update(sleeps.variable() | KEEP_WORKERS)
        document = sleeping_config(yaml.safe_load(CONFIG.read_text("utf-8")))
        config.write_text(yaml.safe_dump(document), "utf-8")
        service = start(data, str(checkpoint), 0, config, SLEEPING.module)
        stack.callback(stop, service)
        running = wait_until_it_runs(data, service)
        database = Database(running.database_url, connections=2)
        stack.callback(database.close)
        environment = _environment(data, running)
        former = signal.getsignal(signal.SIGTERM)
        join_service(data.path)
        signal.signal(signal.SIGTERM, former)  # Ray's own would end this process, and leave the service
        from scripts.benchmark.ray_nodes import Nodes

        nodes = Nodes(running.ray_address, environment, PER_NODE)
        stack.callback(nodes.leave)
        args = AppArgs.model_validate(document["applications"][0]["args"])
        yield Workbench(data, checkpoint, running, service.pid, args, database), nodes


def sleeping_config(document: dict[str, Any]) -> dict[str, Any]:
    """A Serve config changed so that each node has one replica of each deployment but the Indexer."""
    application = document["applications"][0]
    application["import_path"] = IMPORT_PATH
    leave_alone(application["args"])
    application["args"]["indexer"]["claim_size"] = CLAIM_SIZE
    for deployment in application["deployments"]:
        if deployment["name"] in PER_NODE:
            deployment.pop("autoscaling_config", None)
            deployment |= {"num_replicas": 1, "max_replicas_per_node": 1}
        if deployment["name"] == "TextEmbedder":
            deployment["user_config"]["max_batch_size"] = PROMPTS_PER_CALL
    return document


def leave_alone(args: dict[str, Any]) -> None:
    """No limits of keys and shops, and no background work that has nothing to do with the load."""
    args["limits"] |= dict.fromkeys(UNLIMITED)
    args["search"] |= {"floor_quiet_s": LATER_S, "floor_at_most_s": LATER_S}
    args["audit"]["poll_interval_s"] = LATER_S


def _environment(data: DataDirectory, running: RunningService) -> dict[str, str]:
    """What replicas on further nodes need, as the launcher gave it to those on its own."""
    inherited = {name: value for name, value in os.environ.items() if name not in environment_names()}
    media = (data.path / "media").as_uri()
    own = {"MEDIA_URL": media, "SECRET_KEY": data.secret_key(), "LOCAL_URL": running.url}
    return inherited | running.environment() | own
