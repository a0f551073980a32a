"""What a script that joins the service's cluster writes where."""

from __future__ import annotations

from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from ray import JobID
from ray._private import worker

from scripts.join_service import keep_stdout_clean

WARNING = "WARNING: 10 PYTHON worker processes have been started on node"


class OneError:
    """What the cluster tells all its drivers, and then no more."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop

    def subscribe(self) -> None:
        """The message comes in any case."""

    def poll(self) -> tuple[bytes, dict[str, Any]]:
        self._stop.set()
        return b"", {"job_id": JobID.nil().binary(), "error_message": WARNING}


def test_the_clusters_messages_leave_standard_output_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loop is Ray's own, as it runs in every driver."""
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    keep_stdout_clean()
    stop = Event()
    driver: Any = SimpleNamespace(gcs_error_subscriber=OneError(stop), current_job_id=JobID.nil())
    worker.listen_error_messages(driver, stop)
    seen = capsys.readouterr()
    assert WARNING in seen.err
    assert seen.out == ""
