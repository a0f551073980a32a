"""How the operating system weighs what answers requests, and bulk work."""

from __future__ import annotations

import sys

import psutil
import pytest

from tests.stack import Stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities are Linux's")


@pytest.mark.parametrize("replica", ["Ingress", "TextEmbedder", "ImageEmbedder"])
def test_replicas_have_the_priority_that_the_service_was_started_with(stack: Stack, replica: str) -> None:
    (found,) = stack.processes(f"ServeReplica:fashion:{replica}")
    assert found.nice() == psutil.Process().nice()
