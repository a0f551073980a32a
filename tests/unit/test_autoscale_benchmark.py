"""How the benchmark of autoscaling asks, counts and judges; its figures are no tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from configs.serving import AppArgs
from models.errors import ConfigurationError
from scripts.benchmark.autoscale import WINDOW_S, Options, Run, figures_of, measure
from scripts.benchmark.autoscale_config import EMBEDDER, INGRESS, Autoscaling, write_autoscaling_config
from scripts.benchmark.charts import Lines, charts_of
from scripts.benchmark.http_load import Failure, Load, Target, timed_load
from scripts.benchmark.load_profile import Profile, up_and_down
from scripts.benchmark.prompted_catalogue import Judged
from scripts.benchmark.replica_watch import Replicas, rose_and_fell, steps_of

ALL_RIGHT = Judged(10, 1.0, 1.0)


class Unsteady(BaseHTTPRequestHandler):
    """Answers 200, but for every third request 503, and no answer at all to every fifth."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        number = type(self).asked
        self.rfile.read(int(self.headers["Content-Length"]))
        if number % 5 == 0:
            self.close_connection = True
            return
        self.send_response(503 if number % 3 == 0 else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


@contextmanager
def unsteady() -> Iterator[str]:
    Unsteady.asked = 0
    running = ThreadingHTTPServer(("127.0.0.1", 0), Unsteady)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def seen(*running: int) -> list[Replicas]:
    return [Replicas(WINDOW_S * number, count, 0, 0) for number, count in enumerate(running)]


def run_of(running: Sequence[int], failures: Sequence[Failure] = ()) -> Run:
    """Requests due 1, 2 and 6 s after a start at 100, answered within 0.1, 0.3 and 0.2 s."""
    load = Load([0.1, 0.3, 0.2], [101.1, 102.3, 106.2], failures=list(failures))
    profile = Profile([(0.0, 1.0), (10.0, 3.0)])
    return Run.of(
        profile, load, [Replicas(100 + one.moment_s, one.running, 0, 0) for one in seen(*running)], 100
    )


def test_requests_that_fail_are_counted_and_the_others_go_on() -> None:
    with unsteady() as url:
        load = timed_load(
            Target(url, {}, lambda prompt: {"prompt": prompt}), repeat("red"), [0.01 * n for n in range(30)]
        )
    assert (len(load.times_s), len(load.failures)) == (16, 14)
    assert sum("503" in one.reason for one in load.failures) == 8
    assert sum("Disconnected" in one.reason for one in load.failures) == 6


def test_load_rises_and_falls_and_is_the_same_in_every_run() -> None:
    profile = up_and_down(5, 50, 3)
    assert [rate for _, rate in profile.corners] == [5, 5, 50, 50, 5, 5]
    due_s = profile.due_s(seed=1)
    assert due_s == profile.due_s(seed=1) == sorted(due_s)
    for first, last in ((0.0, 10.0), (10.0, 90.0), (90.0, 110.0), (110.0, 155.0), (155.0, 180.0)):
        wanted = (last - first) * (profile.rate(first) + profile.rate(last)) / 2
        found = sum(first <= moment < last for moment in due_s)
        assert abs(found - wanted) < 4 * wanted**0.5


@pytest.mark.parametrize(
    ("running", "right"),
    [
        ((1, 1, 2, 3, 3, 2, 1), True),
        ((1, 3, 1), True),
        ((1, 2, 1), False),  # never three
        ((1, 3, 2), False),  # not back
        ((2, 3, 1), False),
        ((1, 2, 1, 3, 1), True),  # to and fro
        ((1, 3, 0, 1), False),  # nobody was left
        ((1, 4, 1), False),
        ((), False),
    ],
)
def test_replicas_have_to_rise_and_to_fall(running: tuple[int, ...], right: bool) -> None:
    assert rose_and_fell(steps_of(seen(*running)), 3) is right


def test_a_window_has_the_requests_that_were_due_in_it() -> None:
    first, second = run_of([1, 2], [Failure(107.0, "503")]).windows()
    assert (first.answered, first.failed, first.replicas, first.offered) == (2, 0, 1, 1.5)
    assert (second.answered, second.failed, second.replicas, second.offered) == (1, 1, 2, 2.5)
    assert first.p50_ms == pytest.approx(200)
    assert second.p99_ms == pytest.approx(200)


def test_requests_under_way_when_a_replica_stops_are_those_between_two_looks_and_a_moment_later() -> None:
    assert run_of([2, 1]).under_way_at_stops() == 2  # due after 1 and 2 s, of a stop within the first 5
    assert run_of([2, 2, 1]).under_way_at_stops() == 1  # due after 6 s, of one within the next 5
    assert run_of([2, 2, 2, 1]).under_way_at_stops() == 0
    assert run_of([1, 2, 3]).under_way_at_stops() == 0


def test_a_failed_request_or_a_missing_replica_misses_its_limit() -> None:
    def missed(run: Run) -> list[str]:
        return [one.name for one in figures_of(run, 3, ALL_RIGHT) if not one.met]

    assert missed(run_of([1, 3, 1])) == []
    assert missed(run_of([1, 3, 1], [Failure(107.0, "503")])) == ["failed requests"]
    assert missed(run_of([1, 2, 1])) == ["replicas went 1 → 3 → 1 (1: yes)"]
    assert missed(run_of([1, 3, 3, 1])) == ["answered requests under way when replicas stopped"]


@pytest.mark.parametrize("sleeping", [True, False])
@pytest.mark.parametrize("name", [EMBEDDER, INGRESS])
def test_the_config_is_one_that_serve_takes(tmp_path: Path, name: str, sleeping: bool) -> None:
    scaled = Autoscaling(name, 4, 1.5)
    written = write_autoscaling_config(tmp_path / "config.yaml", scaled, sleeping=sleeping)
    with pytest.warns(DeprecationWarning, match="metrics_interval_s"):
        schema = ServeDeploySchema.model_validate(yaml.safe_load(written.read_text("utf-8")))
    (application,) = schema.applications
    own = {one.name: one for one in application.deployments}
    autoscaling = own[name].autoscaling_config
    assert isinstance(autoscaling, dict)
    assert (autoscaling["min_replicas"], autoscaling["max_replicas"]) == (1, 4)
    assert name == EMBEDDER or own[EMBEDDER].num_replicas == 4
    assert AppArgs.model_validate(application.args).limits.key_requests_per_minute is None
    assert application.import_path.startswith("scripts.benchmark." if sleeping else "serve_app.")


def test_real_towers_need_rates(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--rates"):
        measure(tmp_path, None, Options(False, Autoscaling(EMBEDDER, 3, 1.0)))


def test_load_replicas_and_times_are_drawn_over_time() -> None:
    run = run_of([1, 2])
    details = {
        "window_s": WINDOW_S,
        "deployment": EMBEDDER,
        "windows": [asdict(one) for one in run.windows()],
        "replicas": [asdict(one) for one in run.seen],
    }
    load, replicas, times = charts_of({"benchmark": "autoscale", "details": details, "figures": []})[:3]
    assert isinstance(load, Lines)
    assert isinstance(replicas, Lines)
    assert isinstance(times, Lines)
    assert load.lines == {"offered": [(2.5, 1.5), (7.5, 2.5)], "answered": [(2.5, 0.4), (7.5, 0.2)]}
    assert replicas.lines["running"] == [(0.0, 1), (5.0, 2)]
    assert list(times.lines) == ["p50", "p99"]
