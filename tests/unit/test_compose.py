"""docker-compose.yml, by its structure: there is no Docker engine where these tests run."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

from configs.settings import environment_names

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
DOCUMENT: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")
SECRETS = {
    "DB_PASSWORD",
    "REDIS_PASSWORD",
    "SECRET_KEY",
    "RAY_TOKEN",
    "PGADMIN_DEFAULT_PASSWORD",
    "GRAFANA_ADMIN_PASSWORD",
}
PORTS = {
    "postgres": 5432,
    "pgadmin": 5050,
    "redis": 6379,
    "chroma": 8001,
    "smtp4dev": 5000,
    "prometheus": 9090,
    "grafana": 3000,
}
PROFILES = {"pgadmin": "tools", "smtp4dev": "tools", "prometheus": "monitoring", "grafana": "monitoring"}
JOBS = {"certificate", "migrate", "deploy"}
# Its image has nothing to ask with, and nothing waits for it.
UNCHECKED = {"smtp4dev"}
LAUNCHER_ONLY = {"DATABASE_URL", "LOCAL_URL", "LINK_LOG"}


def environment(service: str) -> dict[str, Any]:
    return SERVICES[service].get("environment", {})


def defaults(text: str) -> str:
    """The text where .env sets nothing."""
    return VARIABLE.sub(lambda found: found[3], text)


def passed_on() -> set[str]:
    """Variables without a value: from .env, where it has them."""
    return {name for one in SERVICES for name, value in environment(one).items() if value is None}


def test_it_follows_the_schema() -> None:
    schema = json.loads((ROOT / "tests" / "schemas" / "compose_spec.json").read_text("utf-8"))
    known = {key: value for key, value in DOCUMENT.items() if key != "name"}  # newer than that schema
    errors = [f"{list(one.path)}: {one.message}" for one in Draft201909Validator(schema).iter_errors(known)]
    assert errors == []


def test_every_variable_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    listed = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    assert {name for name, _, _ in VARIABLE.findall(TEXT)} | passed_on() <= listed


def test_a_secret_that_is_not_set_is_refused_by_name() -> None:
    refusing = {name for name, kind, message in VARIABLE.findall(TEXT) if kind == "?" and message}
    assert refusing == SECRETS
    for name, kind, _ in VARIABLE.findall(TEXT):
        assert kind == "?" or name not in SECRETS, f"{name} without ':?'"


def test_no_secret_has_a_value_of_its_own() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    for name in SECRETS | {"SMTP_PASSWORD"}:
        assert re.search(rf"^{name}=$", example, re.MULTILINE), name
    for service in SERVICES:
        for name, value in environment(service).items():
            if re.search("PASSWORD|SECRET|TOKEN", name) and value is not None:
                assert VARIABLE.fullmatch(str(value)), (service, name)


def test_only_the_edge_listens_beyond_this_machine() -> None:
    for name, service in SERVICES.items():
        assert service.get("network_mode", "none") == "none", name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:") or name == "edge", (name, port)
    assert SERVICES["edge"]["ports"] == ["${EDGE_PORT:-8000}:8000"]


@pytest.mark.parametrize(("service", "port"), PORTS.items())
def test_every_part_has_its_port(service: str, port: int) -> None:
    (published,) = SERVICES[service]["ports"]
    assert published.startswith(f"127.0.0.1:{port}:")


def test_the_edge_reaches_no_data() -> None:
    assert SERVICES["edge"]["networks"] == ["front"]
    for name in {"postgres", "redis", "chroma", "pgadmin", "smtp4dev"}:
        assert SERVICES[name]["networks"] == ["back"], name
    for name in {"prometheus", "grafana"}:
        assert "front" not in SERVICES[name]["networks"], name


def test_the_profiles() -> None:
    found = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert found == {name: [profile] for name, profile in PROFILES.items()}


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        _, _, tag = service["image"].partition(":")
        assert re.match(r"v?\d+\.\d+", tag), (name, service["image"])


def test_health_checks() -> None:
    for name, service in SERVICES.items():
        check = service.get("healthcheck", {})
        if name in JOBS:
            assert check == {"disable": True}, name
            assert service["restart"] == "no"
        elif name not in UNCHECKED:
            assert check["test"][0] in {"CMD", "CMD-SHELL"}, name
            assert {"interval", "timeout", "retries"} <= check.keys(), name


def test_waiting_is_for_what_can_become_true() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert how == {"condition": expected}, (name, other)
            assert other not in UNCHECKED
            assert other not in PROFILES or PROFILES[other] == PROFILES.get(name), (name, other)


def test_what_is_mounted_is_there() -> None:
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source, _, _ = defaults(mount).partition(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), (name, source)
                assert mount.endswith(":ro"), (name, mount)
            else:
                assert source in DOCUMENT["volumes"], (name, source)


def test_the_service_is_told_every_setting() -> None:
    for name in ("ray-head", "ray-worker", "migrate"):
        assert environment_names() - LAUNCHER_ONLY <= environment(name).keys(), name


def test_the_edge_calls_every_node() -> None:
    upstreams = set(re.findall(r"http://(\w+):8000", (ROOT / "configs/edge/nginx.conf").read_text("utf-8")))
    assert upstreams == {"serve"}
    for name in ("ray-head", "ray-worker"):
        assert SERVICES[name]["networks"]["front"] == {"aliases": ["serve"]}, name


def test_without_a_certificate_one_is_made(tmp_path: Path) -> None:
    script = SERVICES["certificate"]["command"][2].replace("$$", "$").replace("/certs", str(tmp_path))
    variables = {"EDGE_HOST": "search.shop.example", "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-c", script], env=variables, check=True, capture_output=True, timeout=30)
    made = [path.read_bytes() for path in (tmp_path / "edge.crt", tmp_path / "edge.key")]
    subprocess.run(["sh", "-c", script], env=variables, check=True, capture_output=True, timeout=30)
    assert made == [path.read_bytes() for path in (tmp_path / "edge.crt", tmp_path / "edge.key")]
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        tmp_path / "edge.crt", tmp_path / "edge.key"
    )


def test_the_index_is_the_rust_server() -> None:
    assert SERVICES["chroma"]["command"][:2] == ["chroma", "run"]


def test_workers_can_be_scaled() -> None:
    worker = SERVICES["ray-worker"]
    assert not {"ports", "container_name", "hostname"} & worker.keys()
