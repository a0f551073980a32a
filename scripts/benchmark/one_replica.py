"""A config in which a deployment has one replica: what is measured then is not a second one's as well."""

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
