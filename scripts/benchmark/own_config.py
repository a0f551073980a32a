"""A config with what a benchmark needs to compare: one replica of a deployment, a backend, a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from configs.serving import EmbedderUserConfig


def with_one_replica(config: Path, name: str, target: Path) -> tuple[Path, int]:
    """Write ``target``: ``config`` with one replica of deployment ``name``. Also its largest batch."""
    document = yaml.safe_load(config.read_text("utf-8"))
    deployments: list[dict[str, Any]] = document["applications"][0].get("deployments", [])
    for deployment in deployments:
        if deployment["name"] == name:
            deployment.pop("autoscaling_config", None)
            deployment["num_replicas"] = 1
            own = deployment.get("user_config", {})
            break
    else:
        own = {}
        deployments.append({"name": name, "num_replicas": 1})
        document["applications"][0]["deployments"] = deployments
    target.write_text(yaml.safe_dump(document), "utf-8")
    return target, EmbedderUserConfig.model_validate(own).max_batch_size


def with_backend(config: Path, backend: str, target: Path, device: str | None = None) -> Path:
    """Write ``target``: ``config`` with that backend for prompts, whatever ``auto`` would take here, and that
    device where one is named."""
    document = yaml.safe_load(config.read_text("utf-8"))
    args = document["applications"][0].setdefault("args", {})
    own = {"backend": backend} | ({} if device is None else {"device": device})
    args["text_embedder"] = (args.get("text_embedder") or {}) | own
    target.write_text(yaml.safe_dump(document), "utf-8")
    return target
