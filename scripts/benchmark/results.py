"""A run's figures with what they come from and what they were measured on, as a file that can be compared."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.errors import ConfigurationError
from scripts.benchmark.machine import describe
from scripts.measurement.report import Figure


def document_of(kind: str, options: dict[str, Any], figures: list[Figure], details: Any) -> dict[str, Any]:
    """All of one run, as JSON has it. ``options``: what it was asked for."""
    return {
        "benchmark": kind,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": options,
        "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
        "details": details,
        "machine": describe(),
    }


def require_writable(directory: Path) -> None:
    """Raises ConfigurationError, before minutes are spent on what could not be kept."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"The directory {directory} cannot be written ({error.strerror}). Give another: --output DIR."
        ) from None


def save(document: dict[str, Any], directory: Path) -> Path:
    """``NAME-DATE.json`` in ``directory``, by UTC."""
    stamp = datetime.fromisoformat(document["date"]).strftime("%Y-%m-%d-%H%M%S")
    path = directory / f"{document['benchmark']}-{stamp}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return path
