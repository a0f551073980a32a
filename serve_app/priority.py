"""Bulk work gives way to shoppers: the priorities of its threads, as the operating system weighs them.

Nice values: 0 is what answers requests, where Ray was started with ``RAY_worker_niceness=0`` (its own 15 for
all its processes leaves bulk work no step but the last). Decoding comes after embedding, so that on a busy
machine the model is never kept from the photos that are ready; storing comes last.
"""

from __future__ import annotations

import os
import sys
import threading

EMBEDDING_NICE = 10
TASK_NICE = 15
STORING_NICE = 19


def give_way(nice: int) -> None:
    """Lower the priority of this thread, and of those that it starts from now on. Never raises it."""
    if sys.platform != "linux":  # elsewhere it would be the whole process's
        return
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < nice:
        os.setpriority(os.PRIO_PROCESS, thread, nice)
