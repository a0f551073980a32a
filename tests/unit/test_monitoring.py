"""The dashboard, the alerts and the guide to them belong together. Their data: test_metrics.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from serve_app.deployments.work_metrics import DESCRIPTIONS
from tests.promql import Matcher, Selector, grouping_labels, selectors
from tests.unit.test_documentation import headings

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "configs" / "monitoring"
GUIDE = ROOT / "docs" / "operations.md"


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((MONITORING / "grafana" / "dashboards" / "fashion.json").read_text("utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    source = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (uid,) = (one["uid"] for one in source["datasources"])
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids)) > 20
    for panel in panels():
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {uid}


def test_every_alert_leads_to_what_to_do() -> None:
    for alert in alerts():
        guide, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert ROOT / guide == GUIDE
        assert anchor == alert["alert"].lower()
        assert anchor in headings(GUIDE)
        assert alert["labels"]["severity"] in {"page", "warn", "info"}
        assert alert["annotations"]["summary"]
    described = re.findall(r"^### (.*)$", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(alert["alert"] for alert in alerts())


def test_the_guide_explains_every_metric_of_ours_that_is_shown() -> None:
    shown = {
        selector.name
        for expression in [target["expr"] for panel in panels() for target in panel["targets"]]
        for selector in selectors(expression)
    }
    guide = GUIDE.read_text("utf-8")
    rows = "\n".join(line for line in guide.splitlines() if line.startswith("| `ray_fashion_"))
    for name in {name for name in shown if name.startswith("ray_fashion_")}:
        stem = re.sub(r"_(bucket|sum|count|misses)_total$", "", name)
        assert stem in rows, name
    for name in DESCRIPTIONS:
        assert f"ray_{name}" in rows, name


def test_expressions_are_taken_apart() -> None:
    expression = (
        'histogram_quantile(0.99, sum by (le, stage) (rate(a_bucket{stage="all",le!~"x|y"}[5m]))) > 0.5 '
        "and on (ip) max(b) offset 5m or absent(c:d)"
    )
    matchers = (Matcher("stage", "=", "all"), Matcher("le", "!~", "x|y"))
    assert selectors(expression) == [Selector("a_bucket", matchers), Selector("b", ()), Selector("c:d", ())]
    assert grouping_labels(expression) == {"le", "stage", "ip"}
