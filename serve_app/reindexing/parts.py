"""What the driver of a reindex works with, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from configs.serving import AppArgs
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError
from models.image import IndexVersion
from serve_app.context import ServingContext
from serve_app.fill_version import Filled
from serve_app.gate import GateReport
from serve_app.ports import BulkTextEmbedder

MAX_UNREADABLE_SHARE = 0.01


class Stopped(Exception):
    """Somebody asked the driver to stop: no mistake of anybody's. Says how to go on."""


class Partitions(Protocol):
    """Photos that are being filled, a partition in each task."""

    def start(self, image_ids: list[int]) -> None: ...

    def running(self) -> int: ...

    def finished(self, timeout_s: float) -> Sequence[Filled | AppError]:
        """What ended since the last call, waiting for at most so long for the first one."""
        ...


class Models(Protocol):
    """The models as the cluster serves them, and as it fills a version with them."""

    def main_version(self) -> int:
        """The version whose model the main application itself serves."""
        ...

    def deploy(self, context: ServingContext) -> None:
        """Have the version's model served by an application of its own; returns once it answers."""
        ...

    def remove(self, version_id: int) -> None:
        """End that application, if there is one."""
        ...

    def written(self) -> set[int]:
        """The versions that new photos are written to."""
        ...

    def texts(self, version: IndexVersion) -> BulkTextEmbedder: ...

    def partitions(self, context: ServingContext) -> AbstractContextManager[Partitions]:
        """While the block lasts; what still runs at its end is given up."""
        ...

    def answering(self) -> str | None:
        """The label of the model by which requests are answered now; None where nobody says."""
        ...


class Watcher(Protocol):
    """Whoever looks on: a person, or a machine."""

    def phase(self, name: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class ReindexParts:
    database: Database
    vectors: VectorStore
    args: AppArgs
    models: Models
    watcher: Watcher


@dataclass(frozen=True)
class Options:
    """``force``: flip whatever the gate says. ``report_only``: the gate stops nothing."""

    flip: bool = True
    force: bool = False
    report_only: bool = False


@dataclass(frozen=True)
class Outcome:
    """``state``: live, ready (filled and compared, not flipped) or stopped, then for these ``reasons``."""

    state: str
    version_id: int
    model_key: str
    photos: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)
    gate: GateReport | None = None
    reasons: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "state": self.state,
            "version_id": self.version_id,
            "model_key": self.model_key,
            "photos": self.photos,
            "unreadable": {str(image_id): reason for image_id, reason in self.unreadable.items()},
            "gate": self.gate.as_json() if self.gate is not None else None,
            "reasons": self.reasons,
        }
