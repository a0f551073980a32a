"""Where a replica's own log lines go: into Serve's log of the replica, at once."""

from __future__ import annotations

import logging


class _Forwarding(logging.Handler):
    """Hands each line to Serve's handlers and flushes them.

    Left alone, the lines reach Serve's log through stderr: as INFO, whatever they were, and only when a
    thousand others have gathered (Serve buffers its log in throughput mode).
    """

    def emit(self, record: logging.LogRecord) -> None:
        for handler in logging.getLogger("ray.serve").handlers:
            handler.handle(record)
            handler.flush()


def use_serve_log() -> None:
    """For the constructor of a deployment: Serve has set up its log by then."""
    logger = logging.getLogger("serve_app")
    logger.handlers = [_Forwarding(logging.WARNING)]
    logger.propagate = False
