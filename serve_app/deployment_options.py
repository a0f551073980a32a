"""What a deployment has where a config says nothing: the options of a small machine."""

from __future__ import annotations

from typing import Any, Final

_TOWER: Final[dict[str, Any]] = {
    "max_ongoing_requests": 64,
    "max_queued_requests": 512,
    "user_config": {},
    "ray_actor_options": {"num_cpus": 0.3},
}
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "Ingress": {
        "max_ongoing_requests": 256,
        "max_queued_requests": 512,
        "ray_actor_options": {"num_cpus": 0.2},
    },
    "TextEmbedder": _TOWER,
    "ImageEmbedder": _TOWER,
    "SearchIndex": {
        "max_ongoing_requests": 128,
        "max_queued_requests": 512,
        "user_config": {},
        "ray_actor_options": {"num_cpus": 0.1},
    },
    "Indexer": {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0.1}},
}
