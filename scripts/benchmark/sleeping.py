"""The service's application with towers that sleep: what is left is the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.serving import EmbedderArgs
from scripts.benchmark.sleeping_encoder import SleepingEncoder, Sleeps
from serve_app.deployments.embedder import Embedder
from serve_app.main import application

if TYPE_CHECKING:
    from ray.serve import Application

    from serve_app.encoder import Tower


class SleepingEmbedder(Embedder):
    """Batches, queues and threads are the served ones."""

    def _load(self, tower: Tower, args: EmbedderArgs, hub_timeout_s: float) -> Any:  # noqa: ARG002
        return SleepingEncoder(self._model.dimension, Sleeps.of_environment())


def build_app(args: dict[str, Any]) -> Application:
    """As ``serve_app.main.build_app``."""
    return application(args, SleepingEmbedder)
