"""The Dockerfile, by its text: there is no Docker engine where these tests run."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml

from serve_app.local_environment import set_speed_variables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
BUILD, FINAL = re.split(r"^FROM .*-slim-bookworm$", TEXT, flags=re.MULTILINE)


def instructions(stage: str, name: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", stage, flags=re.MULTILINE))
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)


def environment() -> dict[str, str]:
    pairs = [pair for line in instructions(FINAL, "ENV") for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def test_ray_finds_what_the_launcher_would_set() -> None:
    with patch.dict(os.environ, clear=True):
        set_speed_variables()
        of_launcher = dict(os.environ)
    of_launcher["RAY_worker_maximum_startup_concurrency"] = "8"  # or the cores, where there are more
    assert of_launcher.items() <= environment().items()
    assert environment()["RAY_AUTH_MODE"] == "token"


def test_it_runs_without_rights_and_keeps_the_models() -> None:
    assert instructions(FINAL, "USER") == ["1000:1000"]
    assert instructions(FINAL, "VOLUME") == [environment()["HF_HOME"]]


def test_no_build_tools_in_the_final_stage() -> None:
    assert not re.search(r"apt-get|pip install|gcc|build-essential", FINAL)
    assert "pip install" in BUILD


def test_the_health_check_asks_with_python() -> None:
    (check,) = instructions(FINAL, "HEALTHCHECK")
    assert 'CMD ["python", "-c"' in check
    assert "/healthz" in check


def test_every_dependency_is_of_the_tested_version() -> None:
    for command in re.findall(r"pip install [^;&]*", BUILD):
        assert "-c constraints.txt" in command


def test_both_variants() -> None:
    assert instructions(BUILD, "ARG") == ["PYTHON=3.11.14", "VARIANT=cpu"]
    (choice,) = [line for line in instructions(BUILD, "RUN") if "index-url" in line]
    assert "cpu)" in choice
    assert "cuda)" in choice


@pytest.mark.parametrize("secret", [".env", "data", ".git", "tests"])
def test_the_build_is_handed_no_secrets(secret: str) -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert f"!{secret}" not in rules


def test_the_build_is_handed_all_that_it_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in let_in)
    copied = {part for line in instructions(BUILD, "COPY") for part in line.split()[:-1]}
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"tests"}
    assert copied | packages <= let_in


def test_one_version_everywhere() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    assert compose["x-app"]["image"] == f"fashion-recommender:{version}-${{VARIANT:-cpu}}"
