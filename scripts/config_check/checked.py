"""A config without mistakes, as the checks read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema

from configs.serving import AppArgs
from serve_app.config_mistakes import APPLICATION, USER_CONFIGS, Place
from serve_app.deployment_options import OPTIONS

ARGS: Place = (*APPLICATION, "args")
SHUTDOWN_S = 20.0  # Serve's own


@dataclass(frozen=True)
class Finding:
    """A warning. ``code`` names its kind: ``--accept CODE``."""

    code: str
    place: Place
    message: str


@dataclass(frozen=True)
class Cluster:
    """``cpus`` and ``gpus`` of each of ``nodes``; a head without CPUs does not count."""

    cpus: float
    gpus: float
    nodes: int = 1


@dataclass(frozen=True)
class Part:
    """A deployment, with defaults for what the file leaves out. ``place``: its own in the file."""

    name: str
    place: Place
    options: dict[str, Any]
    scaling: AutoscalingConfig | None

    @property
    def least(self) -> int:
        return self.scaling.min_replicas if self.scaling else int(self.options.get("num_replicas") or 1)

    @property
    def most(self) -> int:
        return self.scaling.max_replicas if self.scaling else self.least

    @property
    def target(self) -> float:
        """Of requests under way, for each replica; 0 where nothing scales."""
        return float(self.scaling.target_ongoing_requests or 0) if self.scaling else 0.0

    @property
    def at_once(self) -> int:
        return int(self.options.get("max_ongoing_requests", 5))

    @property
    def batch(self) -> int:
        schema = USER_CONFIGS[self.name]
        if schema is None:
            return 1
        size: int = schema.model_validate(self.options.get("user_config") or {}).model_dump()[
            "max_batch_size"
        ]
        return size

    def share(self, kind: str) -> float:
        """``num_cpus`` or ``num_gpus`` of a replica. Serve takes a whole CPU where the options name none."""
        given = (self.options.get("ray_actor_options") or {}).get(kind)
        return float(given if given is not None else kind == "num_cpus")

    def at(self, *keys: str) -> Place:
        return (*self.place, *keys)


@dataclass(frozen=True)
class Checked:
    """All that a check may look at."""

    schema: ServeDeploySchema
    args: AppArgs
    parts: dict[str, Part]
    cluster: Cluster


Check = Callable[[Checked], Iterator[Finding]]


def checked(document: dict[str, Any], cluster: Cluster) -> Checked:
    """``document``: one that ``serve_app.config_mistakes`` finds nothing in."""
    schema = ServeDeploySchema.model_validate(document)
    application = schema.model_dump(exclude_unset=True)["applications"][0]
    own = {one["name"]: (number, one) for number, one in enumerate(application.get("deployments", []))}
    parts = {name: _part(name, *own.get(name, (None, {}))) for name in OPTIONS}
    return Checked(schema, AppArgs.model_validate(application.get("args") or {}), parts, cluster)


def _part(name: str, number: int | None, own: dict[str, Any]) -> Part:
    place = (*APPLICATION, "deployments") if number is None else (*APPLICATION, "deployments", number)
    options = {**OPTIONS[name], **own}
    return Part(name, place, options, _scaling(options))


def _scaling(options: dict[str, Any]) -> AutoscalingConfig | None:
    """As Serve has it: ``num_replicas: auto`` has defaults of its own."""
    given = options.get("autoscaling_config")
    values = given.model_dump(exclude_unset=True) if isinstance(given, BaseModel) else given
    if options.get("num_replicas") == "auto":
        default = AutoscalingConfig.default().model_dump(exclude={"policy"})
        return AutoscalingConfig.model_validate(default | (values or {}))
    return AutoscalingConfig.model_validate(values) if values else None
