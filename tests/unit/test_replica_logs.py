"""A replica's warnings and errors reach Serve's log as what they are, and at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

import pytest

from serve_app.deployments.logs import use_serve_log


@pytest.fixture
def serve_log(tmp_path: Path) -> Iterator[Path]:
    """Serve's own logger as a replica in throughput mode has it."""
    ours, serves = logging.getLogger("serve_app"), logging.getLogger("ray.serve")
    before = ours.handlers, ours.propagate, serves.handlers
    file = logging.FileHandler(tmp_path / "replica.log")
    file.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    serves.handlers = [MemoryHandler(1000, flushLevel=logging.ERROR, target=file)]
    yield tmp_path / "replica.log"
    ours.handlers, ours.propagate, serves.handlers = before
    file.close()


def test_warnings_and_errors_are_written_at_once(serve_log: Path) -> None:
    use_serve_log()
    use_serve_log()
    logger = logging.getLogger("serve_app")
    logger.info("not asked for")
    logger.warning("queue %d", 7)
    logger.error("broken")
    assert serve_log.read_text().splitlines() == ["WARNING queue 7", "ERROR broken"]
