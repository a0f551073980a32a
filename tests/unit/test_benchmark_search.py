"""The arithmetic of ``python -m scripts.benchmark search``, and what is drawn of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.search import Hit
from scripts.benchmark.charts import Bars, Lines, charts_of
from scripts.benchmark.draw import draw
from scripts.benchmark.search import ratio_of, recall_of

SCORES = np.linspace(0.0, 1.0, 40, dtype=np.float32)  # photo 39 is the best, then 38, …


def hits(ids: list[int]) -> list[Hit]:
    return [Hit(image_id, float(SCORES[image_id])) for image_id in ids]


def test_recall_counts_the_first_ten_of_the_exact_first_ten() -> None:
    best = list(range(39, 21, -1))
    assert recall_of(hits(best), SCORES) == 1.0
    assert recall_of(hits([*range(39, 32, -1), 5, 4, 3, *range(32, 29, -1)]), SCORES) == pytest.approx(0.7)


def test_equals_of_the_last_count_as_well() -> None:
    scores = np.where(np.arange(40) < 20, 0.5, 0.1).astype(np.float32)
    found = [Hit(image_id, 0.5) for image_id in range(10, 20)]
    assert recall_of(found, scores) == 1.0


def test_filtered_recall_is_that_of_what_matches() -> None:
    mask = np.arange(40) % 2 == 0
    assert recall_of(hits(list(range(39, -1, -1))), SCORES, mask) == 1.0
    assert recall_of(hits(list(range(39, 25, -1))), SCORES, mask) == pytest.approx(0.7)
    few = np.arange(40) < 4
    assert recall_of(hits([3, 2, 1]), SCORES, few) == pytest.approx(0.75)


def test_a_round_is_held_against_the_one_beside_it() -> None:
    assert ratio_of([4.0, 10.0, 9.0], [2.0, 10.0, 3.0]) == pytest.approx(2.0)


def document(kind: str, details: Any) -> dict[str, Any]:
    figures = [
        {"name": "rate (a)", "value": 1.5, "least": 3.0, "most": None, "met": False},
        {"name": "p50, ms", "value": 4.0, "least": None, "most": 8.0, "met": True},
        {"name": "no limit", "value": 4.0, "least": None, "most": None, "met": True},
    ]
    machine = {"cpu": "one", "cores": 2, "gpu": None, "commit": None}
    date = "2026-11-23T16:40:12+00:00"
    return {"benchmark": kind, "figures": figures, "details": details, "date": date, "machine": machine}


def of_search() -> dict[str, Any]:
    of_size = {
        "single_ms": {"p50": 3.0, "p99": 5.0},
        "filtered_ms": {"p50": 9.0, "p99": 12.0},
        "recall": {"photos": 1.0, "prompts": 0.99},
        "queries_per_s": {"8": 500.0},
    }
    return document("search", {"sizes": {"1000": of_size, "100000": of_size}})


def test_a_figure_is_drawn_as_a_multiple_of_its_limit() -> None:
    (bars,) = charts_of(document("fairness", {}))
    assert bars == Bars({"rate (a) (≥ 3)": 0.5, "p50, ms (≤ 8)": 0.5}, frozenset({"p50, ms (≤ 8)"}))


def test_search_is_drawn_over_the_size_of_the_catalogue() -> None:
    times, recalls, rates, _ = charts_of(of_search())
    assert isinstance(times, Lines)
    assert times.lines["filtered, p99"] == [(1000, 12.0), (100_000, 12.0)]
    assert isinstance(recalls, Lines)
    assert recalls.lines["prompts"] == [(1000, 0.99), (100_000, 0.99)]
    assert isinstance(rates, Lines)
    assert rates.lines == {"batches of 8": [(1000, 500.0), (100_000, 500.0)]}


def test_queries_are_drawn_by_clients_and_by_the_rate_they_were_due_at() -> None:
    service = {"p50": 20.0, "p99": 90.0, "rate": [50.0, 60.0, 40.0]}
    closed = {"1": {"service": service, "peer": None}, "16": {"service": service, "peer": service}}
    details = {"closed": closed, "open": {"30/s": {"p50": 25.0, "p99": 80.0}}}
    rates, times, opened, _ = charts_of(document("query", details))
    assert isinstance(rates, Lines)
    assert rates.lines == {"service": [(1, 50.0), (16, 50.0)], "peer": [(16, 50.0)]}
    assert isinstance(times, Lines)
    assert times.lines["peer, p99"] == [(16, 90.0)]
    assert isinstance(opened, Lines)
    assert opened.lines["p50"] == [(30.0, 25.0)]


def test_a_plot_lies_beside_its_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "search.json"
    path.write_text(json.dumps(of_search()))
    drawn = draw(path)
    assert drawn == tmp_path / "search.svg"
    assert "<svg" in drawn.read_text()


def test_without_matplotlib_a_run_says_how_to_draw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw(tmp_path / "search.json") is None
    said = "".join(capsys.readouterr().err.split())
    assert "pipinstall-e'.[benchmark]'" in said
    assert "python-mscripts.benchmark.draw" in said
