"""Where a replica's own log lines go: into Serve's log of the replica."""

from __future__ import annotations

import logging

from ray import serve
from ray.serve.exceptions import RayServeException

from serve_app.request_note import CURRENT


class _Forwarding(logging.Handler):
    """Hands each line to Serve's handlers, with what is known of its request.

    Left alone, the lines reach Serve's log through stderr: as INFO, whatever they were.
    """

    def __init__(self, level: int, extra: dict[str, object], *, at_once: bool) -> None:
        """``at_once``: do not leave it to Serve, which in throughput mode waits for a thousand lines."""
        super().__init__(level)
        self._extra, self._at_once = extra, at_once

    def emit(self, record: logging.LogRecord) -> None:
        note = CURRENT.get()
        vars(record).update(self._extra if note is None else {**self._extra, **note.fields()})
        for handler in logging.getLogger("ray.serve").handlers:
            handler.handle(record)
            if self._at_once:
                handler.flush()


def use_serve_log() -> None:
    """For the constructor of a deployment: Serve has set up its log by then."""
    _use("serve_app", _Forwarding(logging.WARNING, {}, at_once=True), logging.NOTSET)
    # Serve would work out for each line where it runs, which takes longer than the line.
    here = {"skip_context_filter": True, **_here()}
    _use("serve_app.requests", _Forwarding(logging.INFO, here, at_once=False), logging.INFO)


def flush_serve_log() -> None:
    """Write what Serve holds back."""
    for handler in logging.getLogger("ray.serve").handlers:
        handler.flush()


def _use(name: str, handler: logging.Handler, level: int) -> None:
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)


def _here() -> dict[str, str]:
    try:
        context = serve.get_replica_context()
    except RayServeException:  # no replica
        return {}
    return {"deployment": context.deployment, "replica": context.replica_tag, "application": context.app_name}
