"""Numbers for the operator's dashboards, exported by Ray beside its own."""

from __future__ import annotations

from ray.util.metrics import Counter


class RayCounter:
    """An ``EventCounter``; Prometheus sees it as ``ray_NAME_total``."""

    def __init__(self, name: str, description: str) -> None:
        self._counter = Counter(name, description)

    def increment(self) -> None:
        self._counter.inc()
