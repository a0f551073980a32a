"""What the service was started with, as every replica and task receives it."""

from __future__ import annotations

from dataclasses import dataclass

from configs.serving import AppArgs
from serve_app.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class ServingContext:
    """``version_id``: the index version that holds ``model``'s vectors."""

    args: AppArgs
    model: ServedModel
    version_id: int


def model_app_name(version_id: int) -> str:
    """The Serve application with the model of an index version which is not the main application's own."""
    return f"model-{version_id}"
