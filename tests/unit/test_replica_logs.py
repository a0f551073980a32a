"""A replica's lines reach Serve's log as what they are: what went wrong at once, requests soon."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

import pytest
from ray._common.formatters import JSONFormatter
from ray.serve._private.logging_utils import ServeFormatter

from serve_app.deployments.logs import flush_serve_log, use_serve_log
from serve_app.request_note import CURRENT, RequestNote


@pytest.fixture
def file(tmp_path: Path) -> Iterator[logging.FileHandler]:
    """Where Serve's own logger writes, which is as a replica in throughput mode has it."""
    loggers = [logging.getLogger(name) for name in ("serve_app", "serve_app.requests", "ray.serve")]
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    handler = logging.FileHandler(tmp_path / "replica.log")
    loggers[-1].handlers = [MemoryHandler(1000, flushLevel=logging.ERROR, target=handler)]
    token = CURRENT.set(RequestNote("request-7", shop_id=5, key_id=9))
    yield handler
    CURRENT.reset(token)
    for one, (handlers, propagate, level) in zip(loggers, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)
    handler.close()


def written(handler: logging.FileHandler) -> list[str]:
    return Path(handler.baseFilename).read_text().splitlines()


def test_warnings_and_errors_are_written_at_once(file: logging.FileHandler) -> None:
    file.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    use_serve_log()
    use_serve_log()
    logger = logging.getLogger("serve_app")
    logger.info("not asked for")
    logger.warning("queue %d", 7)
    logger.error("broken")
    assert written(file) == ["WARNING queue 7", "ERROR broken"]


def test_requests_are_written_when_the_log_is_flushed(file: logging.FileHandler) -> None:
    file.setFormatter(ServeFormatter("Ingress", "replica-1"))
    use_serve_log()
    logging.getLogger("serve_app.requests").info("GET /healthz %d", 200)
    assert written(file) == []
    flush_serve_log()
    (line,) = written(file)
    assert line.startswith("INFO ")
    assert line.endswith("Ingress replica-1 request-7 -- GET /healthz 200")


def test_lines_in_json_carry_the_request_and_its_shop(file: logging.FileHandler) -> None:
    file.setFormatter(JSONFormatter())
    use_serve_log()
    logging.getLogger("serve_app.requests").info("asked", extra={"status": 200, "ms": 12.3})
    logging.getLogger("serve_app").error("broken", exc_info=ValueError("why"))
    asked, broken = (json.loads(line) for line in written(file))
    for line in (asked, broken):
        assert {"request_id": "request-7", "shop_id": 5, "key_id": 9}.items() <= line.items()
        assert line["asctime"]
    assert (asked["levelname"], asked["status"], asked["ms"]) == ("INFO", 200, 12.3)
    assert (broken["levelname"], broken["message"]) == ("ERROR", "broken")
    assert "ValueError: why" in broken["exc_text"]


def test_lines_of_no_request_say_nothing_of_one(file: logging.FileHandler) -> None:
    file.setFormatter(JSONFormatter())
    use_serve_log()
    CURRENT.set(None)
    logging.getLogger("serve_app").warning("alone")
    (line,) = (json.loads(line) for line in written(file))
    assert not {"request_id", "shop_id", "key_id"} & line.keys()
