"""How benchmarks ask, and what they keep; their figures are no tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import ConfigurationError
from scripts.benchmark import query, results
from scripts.benchmark.http_load import Target, open_loop
from scripts.benchmark.line_process import LineProcess
from scripts.benchmark.own_config import with_backend, with_one_replica
from scripts.benchmark.text import fullest
from scripts.benchmark.workbench import CONFIG
from scripts.measurement.report import Figure


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # more connections than come at once; else some would be tried again after 1 s


@contextmanager
def server() -> Iterator[str]:
    running = Server(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def test_a_request_that_is_sent_late_counts_from_the_moment_it_was_due() -> None:
    stall_s, seconds = 0.4, 0.5
    prompts = iter(["stall", *(["go"] * 1000)])

    def body(prompt: str) -> dict[str, Any]:
        if prompt == "stall":
            time.sleep(stall_s)  # nothing is sent meanwhile, as by a client that waits for its answers
        return {"prompt": prompt}

    with server() as url:
        load = open_loop(Target(url, {}, body), prompts, rate=100, seconds=seconds, seed=1)
    assert len(load.times_s) == 50
    # Due at an even rate during the stall, they waited for half of it on average; a moment from sending on.
    assert sum(one > stall_s / 4 for one in load.times_s) > 20


def test_one_replica_of_a_deployment_is_all_that_a_config_loses(tmp_path: Path) -> None:
    written, batch = with_one_replica(CONFIG, "TextEmbedder", tmp_path / "config.yaml")
    before, after = (yaml.safe_load(path.read_text())["applications"][0] for path in (CONFIG, written))
    assert before["args"] == after["args"]
    changed = [
        (old, new) for old, new in zip(before["deployments"], after["deployments"], strict=True) if old != new
    ]
    ((old, new),) = changed
    assert old.pop("autoscaling_config")
    assert old | {"num_replicas": 1} == new
    assert batch == new["user_config"]["max_batch_size"]


def test_a_config_that_says_nothing_of_a_deployment_gets_one_replica_of_it(tmp_path: Path) -> None:
    source = tmp_path / "source.yaml"
    source.write_text(yaml.safe_dump({"applications": [{"name": "fashion"}]}))
    written, batch = with_one_replica(source, "TextEmbedder", tmp_path / "config.yaml")
    deployments = yaml.safe_load(written.read_text())["applications"][0]["deployments"]
    assert (deployments, batch) == ([{"name": "TextEmbedder", "num_replicas": 1}], 16)


def test_a_backend_for_prompts_is_all_that_a_config_gets(tmp_path: Path) -> None:
    written = with_backend(CONFIG, "openvino", tmp_path / "config.yaml")
    before, after = (yaml.safe_load(path.read_text()) for path in (CONFIG, written))
    assert after["applications"][0]["args"]["text_embedder"].pop("backend") == "openvino"
    if not before["applications"][0]["args"].get("text_embedder"):
        assert after["applications"][0]["args"].pop("text_embedder") == {}
    assert before == after


def test_a_peer_is_not_compared_with_another_backend(tmp_path: Path) -> None:
    options = query.Options("openvino", 10, [1], 1.0, 1, False, True)
    with pytest.raises(ConfigurationError, match="--peer monolith"):
        query.measure(tmp_path, None, CONFIG, options)


def test_a_replica_is_held_against_batches_that_its_callers_can_fill() -> None:
    assert [fullest(callers, 32) for callers in (16, 32, 64)] == [16, 32, 32]


def test_what_is_kept_says_how_and_on_what_it_was_measured(tmp_path: Path) -> None:
    figures = [Figure("rate", 2.0, least=3.0), Figure("p50, ms", 4.0)]
    path = results.save(results.document_of("text", {"rounds": 3}, figures, {"a": 1}), tmp_path)
    kept = json.loads(path.read_text())
    assert path.name == f"text-{kept['date'][:10]}-{kept['date'][11:19].replace(':', '')}.json"
    assert [(one["name"], one["value"], one["met"]) for one in kept["figures"]] == [
        ("rate", 2.0, False),
        ("p50, ms", 4.0, True),
    ]
    assert (kept["benchmark"], kept["options"], kept["details"]) == ("text", {"rounds": 3}, {"a": 1})
    assert kept["machine"]["cores"] >= 1
    assert kept["machine"]["packages"]["ray"]


def test_a_directory_that_cannot_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="--output"):
        results.require_writable(tmp_path / "file" / "results")


def test_a_process_that_ended_early_is_named() -> None:
    with (
        LineProcess("scripts.benchmark.no_such_module") as process,
        pytest.raises(ConfigurationError, match="no_such_module"),
    ):
        process.ask("1")
