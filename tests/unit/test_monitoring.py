"""The dashboard, the alerts and the guide to them belong together. Their data: test_metrics.py."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from serve_app.deployments.work_metrics import DESCRIPTIONS
from tests.promql import Matcher, Selector, grouping_labels, selectors
from tests.unit.test_documentation import headings

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "configs" / "monitoring"
GUIDE = ROOT / "docs" / "operations.md"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]


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


def mounted(service: str) -> dict[PurePosixPath, Path]:
    """Files and folders of this repository, by where the container has them."""
    mounts = [mount.split(":") for mount in COMPOSE[service]["volumes"] if mount.startswith("./")]
    assert all(rights == ["ro"] for _, _, *rights in mounts)
    return {PurePosixPath(inside): ROOT / outside for outside, inside, *_ in mounts}


def found(service: str, path: str) -> Path:
    """The file of this repository that the container finds at a path of its own."""
    inside = PurePosixPath(path)
    for folder, source in mounted(service).items():
        if inside.is_relative_to(folder):
            return source / inside.relative_to(folder)
    raise AssertionError(f"{service} has no {path}")


def test_prometheus_finds_its_config_and_the_rules() -> None:
    (option,) = [word for word in COMPOSE["prometheus"]["command"] if word.startswith("--config.file=")]
    path = option.partition("=")[2]
    config = yaml.safe_load(found("prometheus", path).read_text("utf-8"))
    rules = [found("prometheus", str(PurePosixPath(path).parent / name)) for name in config["rule_files"]]
    assert rules == [MONITORING / "alerts.yml"]


def test_prometheus_asks_every_node_at_its_ports() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))
    asked = {job["job_name"]: job["dns_sd_configs"] for job in config["scrape_configs"]}
    assert asked.keys() == {"ray", "haproxy"}
    nodes = {name for name, service in COMPOSE.items() if "--metrics-export-port=8080" in str(service)}
    shared = set(COMPOSE["prometheus"]["networks"])
    for job, port in {"ray": 8080, "haproxy": 9101}.items():  # 9101: RAY_SERVE_HAPROXY_METRICS_PORT
        (names,) = asked[job]
        assert set(names["names"]) == nodes == {"ray-head", "ray-worker"}
        assert (names["type"], names["port"]) == ("A", port)
    for node in nodes:
        assert shared & COMPOSE[node]["networks"].keys(), node


@pytest.mark.parametrize("folder", ["datasources", "dashboards"])
def test_grafana_finds_what_it_is_provisioned_with(folder: str) -> None:
    (file,) = found("grafana", f"/etc/grafana/provisioning/{folder}").glob("*.yml")
    document = yaml.safe_load(file.read_text("utf-8"))
    if folder == "datasources":
        (source,) = document["datasources"]
        assert source["url"] == "http://prometheus:9090"
        assert set(COMPOSE["grafana"]["networks"]) <= set(COMPOSE["prometheus"]["networks"])
    else:
        (provider,) = document["providers"]
        assert [path.name for path in found("grafana", provider["options"]["path"]).iterdir()]
        home = COMPOSE["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        assert found("grafana", home).exists()
