"""The config of a service of which one deployment's replicas come and go with the load within seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.benchmark.sleeping_bench import PROMPTS_PER_CALL, leave_alone
from scripts.benchmark.sleeping_service import IMPORT_PATH
from scripts.benchmark.workbench import CONFIG

EMBEDDER, INGRESS = "TextEmbedder", "Ingress"
UPSCALE_DELAY_S, DOWNSCALE_DELAY_S = 3.0, 6.0
# Serve compares the mean of the last seconds with the target; its own default, 30 s, would outlast a run.
LOOK_BACK_S, LOOK_EVERY_S = 4.0, 1.0
CALLS_PER_REPLICA = 2  # of the one Ingress at a time; more wait there, and share calls


@dataclass(frozen=True)
class Autoscaling:
    """``deployment`` has 1 to ``replicas``; Serve aims at ``ongoing`` calls of each at a time."""

    deployment: str
    replicas: int
    ongoing: float


def write_autoscaling_config(target: Path, scaled: Autoscaling, *, sleeping: bool) -> Path:
    """configs/local.yaml so; beside the Ingress there are as many text embedders as it has at most."""
    document = yaml.safe_load(CONFIG.read_text("utf-8"))
    application = document["applications"][0]
    leave_alone(application["args"])
    application["args"]["calls"]["text_calls"] = CALLS_PER_REPLICA * scaled.replicas
    deployments = {one["name"]: one for one in application["deployments"]}
    deployments[EMBEDDER].pop("autoscaling_config")
    deployments[EMBEDDER]["num_replicas"] = scaled.replicas
    deployments[scaled.deployment].pop("num_replicas")
    deployments[scaled.deployment]["autoscaling_config"] = _autoscaling(scaled)
    if sleeping:
        application["import_path"] = IMPORT_PATH
        deployments[EMBEDDER]["user_config"]["max_batch_size"] = PROMPTS_PER_CALL
    target.write_text(yaml.safe_dump(document), "utf-8")
    return target


def _autoscaling(scaled: Autoscaling) -> dict[str, Any]:
    return {
        "min_replicas": 1,
        "max_replicas": scaled.replicas,
        "target_ongoing_requests": scaled.ongoing,
        "upscale_delay_s": UPSCALE_DELAY_S,
        "downscale_delay_s": DOWNSCALE_DELAY_S,
        "look_back_period_s": LOOK_BACK_S,
        "metrics_interval_s": LOOK_EVERY_S,
    }
