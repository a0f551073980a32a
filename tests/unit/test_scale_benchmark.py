"""The arithmetic of the benchmark of further nodes, and the encoder that sleeps for it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml

from configs.serving import AppArgs
from scripts.benchmark.scale import Visit, gains, in_turn, photos_of, steady_rate
from scripts.benchmark.sleeping_bench import PER_NODE, sleeping_config
from scripts.benchmark.sleeping_encoder import SleepingEncoder, Sleeps, vector_of

LOCAL = Path(__file__).parents[2] / "configs" / "local.yaml"


def visit(nodes: int, answers_per_s: float, photos_per_s: float) -> Visit:
    return Visit(nodes, 0.1, answers_per_s, 10.0, 1.0, photos_per_s, 1.0)


def test_the_fewest_nodes_are_measured_early_and_late() -> None:
    assert in_turn([4, 1, 2], 1) == [1, 2, 4, 1]
    assert in_turn([1, 2], 2) == [1, 2, 1, 2, 1]


def test_a_rate_leaves_out_the_first_answers_and_the_last_ones() -> None:
    ended_s = [100.0 + moment for moment in (1.0, 2.9, 3.0, 5.0, 11.9, 12.0, 13.0)]
    assert steady_rate(ended_s, 100.0, 12.0) == pytest.approx(3 / 9)


def test_a_gain_is_the_median_rate_over_that_of_the_fewest_nodes() -> None:
    visits = [visit(1, 10, 4), visit(2, 20, 6), visit(4, 36, 16), visit(2, 18, 7), visit(1, 10, 4)]
    figures = {figure.name: figure for figure in gains(visits)}
    assert figures["queries on 2 nodes over 1"].value == pytest.approx(1.9)
    assert figures["queries on 4 nodes over 1"].value == pytest.approx(3.6)
    assert figures["bulk on 2 nodes over 1"].value == pytest.approx(6.5 / 4)
    assert [name for name, figure in figures.items() if not figure.met] == ["bulk on 2 nodes over 1"]


def test_each_node_has_one_replica_of_each_part_and_an_import_path_of_its_own() -> None:
    document = sleeping_config(yaml.safe_load(LOCAL.read_text("utf-8")))
    application = document["applications"][0]
    parts = {one["name"]: one for one in application["deployments"]}
    assert all(parts[name]["max_replicas_per_node"] == parts[name]["num_replicas"] == 1 for name in PER_NODE)
    assert not any("autoscaling_config" in parts[name] for name in PER_NODE)
    assert application["import_path"] == "scripts.benchmark.sleeping:build_app"
    assert AppArgs.model_validate(application["args"]).limits.shop_requests_per_minute is None


def test_calls_sleep_one_after_the_other_and_longer_for_more() -> None:
    encoder = SleepingEncoder(8, Sleeps(prompt_s=0.02, photo_s=0.01))
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        prompts = pool.submit(encoder.embed_prompts, ["a", "b"])
        photos = pool.submit(encoder.encode_images, np.zeros((3, 2, 2, 3), np.uint8))
        prompts.result(), photos.result()
    assert time.perf_counter() - started >= 0.07


def test_a_vector_is_the_same_for_the_same_bytes_and_of_unit_length() -> None:
    first, again, other = vector_of(b"red", 64), vector_of(b"red", 64), vector_of(b"blue", 64)
    assert (first == again).all()
    assert abs(float(first @ other)) < 0.6
    assert float(np.linalg.norm(first)) == pytest.approx(1.0)


def test_sleeps_travel_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps = Sleeps(0.0136, 0.031)
    for name, value in sleeps.variable().items():
        monkeypatch.setenv(name, value)
    assert Sleeps.of_environment() == sleeps


@pytest.mark.parametrize(("seconds", "nodes", "photos"), [(10.0, 1, 80), (20.0, 2, 320), (1.0, 2, 96)])
def test_bulk_rounds_grow_with_the_seconds(seconds: float, nodes: int, photos: int) -> None:
    assert photos_of(seconds, nodes) == photos
