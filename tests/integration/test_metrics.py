"""What Prometheus is told, asked of the real service's endpoints after some use."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.samples import Sample

from tests.drawings import garment
from tests.prometheus import prometheus
from tests.promql import Selector, grouping_labels, samples, selectors
from tests.shop_client import RECOMMENDATIONS, ShopClient
from tests.stack import PROJECT, Stack

MONITORING = PROJECT / "configs" / "monitoring"
PATIENCE_S = 60.0
QUESTIONS = 7
PROMETHEUS_OWN = {"up"}
Page = list[Sample]


def metrics_urls(stack: Stack) -> list[str]:
    return list(json.loads((stack.data_dir / "running.json").read_text("utf-8"))["metrics_urls"])


def scraped(stack: Stack) -> Page:
    pages = [httpx.get(url, timeout=20.0).raise_for_status().text for url in metrics_urls(stack)]
    return [sample for page in pages for sample in samples(page)]


def total(page: Page, name: str, **labels: str) -> float:
    """Over all replicas."""
    return sum(one.value for one in page if one.name == name and labels.items() <= one.labels.items())


def wait_for(stack: Stack, holds: Callable[[Page], bool], what: str) -> Page:
    """The first page of which that holds: replicas tell Ray's agent what is new every ten seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds(page := scraped(stack)):
        assert time.monotonic() < deadline, what
        time.sleep(1.0)
    return page


@pytest.fixture(scope="module")
def used(stack: Stack) -> tuple[Page, Page]:
    """The metrics before and after requests of every kind that a dashboard shows."""
    shop = stack.new_shop()
    before = wait_for(stack, lambda page: total(page, "ray_fashion_live_model") == 1, "nothing is published")
    image_id = shop.add(garment(), wait_s=30)["ImageID"]
    for number in range(QUESTIONS):
        assert shop.ask(f"a red dress of shop {shop.shop_id}, {min(number, 1)}").status_code == 200
    filtered = {"prompt": f"a dress of shop {shop.shop_id}", "filters": {"sku": {"not_in": ["x"]}}}
    assert shop.request("POST", RECOMMENDATIONS, json=filtered).status_code == 200
    assert shop.request("GET", f"/api/image-collection/{image_id}/similar/").status_code == 200
    assert shop.request("GET", "/canary-path/").status_code == 404
    assert ShopClient(stack.http, shop.shop_id, "sk_no").ask("x").status_code == 401

    def arrived(page: Page) -> bool:
        new = asked(page) - asked(before)
        return new >= QUESTIONS + 1 and total(page, "ray_fashion_batch_size_count_total", part="photos") > 0

    return before, wait_for(stack, arrived, "the requests are not counted")


def asked(page: Page) -> float:
    return total(page, "ray_fashion_requests_total", route=RECOMMENDATIONS, status="200")


def test_requests_are_counted_by_template_and_status(used: tuple[Page, Page], stack: Stack) -> None:
    before, after = used
    assert asked(after) - asked(before) == QUESTIONS + 1
    templates = set(stack.http.get("/openapi.json").json()["paths"])
    routes = {one.labels["route"] for one in after if one.name == "ray_fashion_requests_total"}
    assert "/api/image-collection/{image_id}/similar/" in routes
    own = {"other", "/admin", "/docs", "/openapi.json", "/healthz", "/readyz"}
    assert {route for route in routes if route not in templates and not route.startswith("/media/")} <= own
    refused = {"route": RECOMMENDATIONS, "method": "POST", "status": "401"}
    assert total(after, "ray_fashion_requests_total", **refused) >= 1
    assert total(after, "ray_fashion_requests_total", route="other", status="404") >= 1


def test_histograms_are_whole_and_their_sums_true(used: tuple[Page, Page]) -> None:
    before, after = used
    for stage in ("embed", "search", "rows", "all"):
        counts = {
            one.labels["le"]: total(after, one.name, stage=stage, le=one.labels["le"])
            for one in after
            if one.name == "ray_fashion_stage_seconds_bucket_total" and one.labels["stage"] == stage
        }
        rising = [counts[le] for le in sorted(counts, key=float)]
        assert rising == sorted(rising)
        assert rising[-1] == total(after, "ray_fashion_stage_seconds_count_total", stage=stage) > 0
    count, seconds = (
        total(after, name, stage="all") - total(before, name, stage="all")
        for name in ("ray_fashion_stage_seconds_count_total", "ray_fashion_stage_seconds_sum_total")
    )
    assert count == QUESTIONS + 1
    assert 0 < seconds < 10 * count


def test_what_a_prompt_cost_is_told(used: tuple[Page, Page], stack: Stack) -> None:
    before, after = used
    hits, misses = (
        total(after, f"ray_fashion_prompt_cache_{kind}_total")
        - total(before, f"ray_fashion_prompt_cache_{kind}_total")
        for kind in ("hits", "misses")
    )
    assert hits + misses == QUESTIONS + 1
    # Three prompts; each replica of the Ingress remembers them for itself.
    assert 3 <= misses <= 3 * len(stack.processes("ServeReplica:fashion:Ingress"))
    for part in ("prompts", "prompt_calls", "chroma", "rows", "photos"):
        assert total(after, "ray_fashion_batch_size_count_total", part=part) > 0, part
        assert Selector("ray_fashion_waiting_requests", ()).of(after)


def test_a_photo_that_failed_shows(stack: Stack, shop: ShopClient) -> None:
    image_id = shop.add(garment(), wait_s=30)["ImageID"]
    stack.execute("UPDATE image SET status = 'failed', error = 'test' WHERE id = :id", id=image_id)
    try:
        page = wait_for(
            stack, lambda page: total(page, "ray_fashion_photos", state="failed") >= 1, "no photo"
        )
        assert total(page, "ray_fashion_photo_age_seconds", state="failed") > 0
    finally:
        stack.execute("UPDATE image SET status = 'embedded', error = NULL WHERE id = :id", id=image_id)


def panels() -> list[tuple[str, str]]:
    """Title and expression of each query of the dashboard."""
    dashboard = json.loads((MONITORING / "grafana" / "dashboards" / "fashion.json").read_text("utf-8"))
    return [
        (f"{panel['title']} {target['refId']}", target["expr"].replace("$__rate_interval", "1m"))
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def alerts() -> list[tuple[str, str]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text("utf-8"))["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(("title", "expression"), panels() + alerts())
def test_what_panels_and_alerts_ask_for_is_there(
    used: tuple[Page, Page], title: str, expression: str
) -> None:
    _, page = used
    wanted = selectors(expression)
    assert wanted
    for selector in wanted:
        if selector.name not in PROMETHEUS_OWN:
            found = selector.of(page)
            assert found, (title, selector)
            own = {label for one in found for label in one.labels}
            assert grouping_labels(expression) <= own, (title, selector, own)


needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="prometheus and promtool are not installed (apt install prometheus)",
)


@needs_prometheus
def test_prometheus_accepts_the_rules_and_answers_every_panel(
    used: tuple[Page, Page], stack: Stack, tmp_path: Path
) -> None:
    del used
    rules = subprocess.run(
        ["promtool", "check", "rules", str(MONITORING / "alerts.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rules.returncode == 0, rules.stdout + rules.stderr
    with prometheus(metrics_urls(stack), tmp_path) as ask:
        assert [title for title, expression in panels() if not ask(expression)] == []
