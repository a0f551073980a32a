"""What ``scripts.apply_config`` hands to Serve, what it refuses, and what it waits for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.serving import AppArgs
from models.errors import ConfigurationError
from scripts.apply_config import as_wanted, changed_application
from serve_app.local_config import load_config

LOCAL = Path(__file__).resolve().parents[2] / "configs" / "local.yaml"


def running() -> dict[str, Any]:
    """As the launcher deployed it: with the model that it chose."""
    application: dict[str, Any] = yaml.safe_load(LOCAL.read_text("utf-8"))["applications"][0]
    args = AppArgs.model_validate(application["args"])
    chosen = args.model.model_copy(update={"name": "/some/where", "fallback": None, "fell_back": True})
    return application | {"args": args.model_copy(update={"model": chosen}).model_dump(mode="json")}


def test_the_running_services_arguments_stay() -> None:
    now, config = running(), load_config(LOCAL)
    application = changed_application(now, config)
    assert application["args"] == now["args"]
    assert [one["name"] for one in application["deployments"]] == [one["name"] for one in now["deployments"]]


def test_other_arguments_are_refused_by_name() -> None:
    now = running()
    now["args"]["indexer"]["lease_s"] = 77
    now["args"]["database_connections"] = 3
    with pytest.raises(ConfigurationError) as caught:
        changed_application(now, load_config(LOCAL))
    assert (
        "args.indexer.lease_s, args.database_connections: not what the service runs" in caught.value.message
    )


@pytest.mark.parametrize(
    ("deployment", "states", "wanted"),
    [
        ({"num_replicas": 2}, {"RUNNING": 2}, True),
        ({"num_replicas": 2}, {"RUNNING": 1}, False),
        ({"num_replicas": 1}, {"RUNNING": 1, "STOPPING": 1}, False),
        ({}, {"RUNNING": 1}, True),
        ({"autoscaling_config": {"min_replicas": 2, "max_replicas": 4}}, {"RUNNING": 3}, True),
        ({"autoscaling_config": {"min_replicas": 2, "max_replicas": 4}}, {"RUNNING": 1}, False),
        ({"autoscaling_config": {"min_replicas": 2, "max_replicas": 4}}, {"RUNNING": 5}, False),
        ({"autoscaling_config": {"min_replicas": 1}}, {"RUNNING": 1, "STARTING": 1}, False),
    ],
)
def test_when_replicas_are_as_the_file_says(
    deployment: dict[str, Any], states: dict[str, int], wanted: bool
) -> None:
    assert as_wanted(deployment, states) is wanted
