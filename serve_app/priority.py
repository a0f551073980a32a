"""Bulk work gives way to shoppers: the priorities of its threads, as the operating system weighs them.

Nice values: 0 is what answers requests. Decoding comes after embedding, so that on a busy machine the model
is never kept from the photos that are ready.
"""

from __future__ import annotations

import os
import sys
import threading

EMBEDDING_NICE = 5
TASK_NICE = 10


def give_way(nice: int) -> None:
    """Lower the priority of this thread, and of those that it starts from now on. Never raises it."""
    if sys.platform != "linux":  # elsewhere it would be the whole process's
        return
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < nice:
        os.setpriority(os.PRIO_PROCESS, thread, nice)
