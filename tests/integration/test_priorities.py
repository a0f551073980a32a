"""How the operating system weighs what answers requests, and bulk work."""

from __future__ import annotations

import os
import sys
import threading

import psutil
import pytest

from serve_app.priority import STORING_NICE
from serve_app.tasks.import_photos import storing_thread
from tests.stack import Stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities are Linux's")


@pytest.mark.parametrize("replica", ["Ingress", "TextEmbedder", "ImageEmbedder"])
def test_replicas_have_the_priority_that_the_service_was_started_with(stack: Stack, replica: str) -> None:
    found = {process.nice() for process in stack.processes(f"ServeReplica:fashion:{replica}")}
    assert found == {psutil.Process().nice()}


def test_the_worker_of_single_uploads_has_it_too(stack: Stack) -> None:
    (worker,) = stack.processes("ray::UploadWorker")
    assert worker.nice() == psutil.Process().nice()


def test_rows_are_stored_by_a_thread_that_gives_way_to_those_that_embed() -> None:
    def nice_value() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert storing_thread().submit(nice_value).result() == max(STORING_NICE, psutil.Process().nice())
    assert nice_value() == psutil.Process().nice()
