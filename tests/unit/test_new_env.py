"""scripts.new_env: a .env that Compose starts with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dotenv import dotenv_values

from scripts.new_env import with_secrets
from tests.unit.test_compose import SECRETS

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")


def run(path: Path) -> subprocess.CompletedProcess[str]:
    # -S: without site-packages, as on a machine that has nothing but Python.
    command = [sys.executable, "-S", "-m", "scripts.new_env", str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_all_secrets_are_filled_in_each_with_its_own(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert run(path).returncode == 0
    assert path.stat().st_mode & 0o777 == 0o600
    before, after = dotenv_values(ROOT / ".env.example"), dotenv_values(path)
    made = {name: value for name, value in after.items() if value != before[name]}
    assert made.keys() == SECRETS
    assert len(set(made.values())) == len(SECRETS)
    assert all(len(value or "") == 64 and (value or "").isalnum() for value in made.values())


def test_the_rest_stays_as_it_is() -> None:
    changed = [
        (old, new)
        for old, new in zip(EXAMPLE.splitlines(), with_secrets(EXAMPLE).splitlines(), strict=True)
        if old != new
    ]
    assert {old.removesuffix("=") for old, _ in changed} == SECRETS


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("SECRET_KEY=mine\n", "utf-8")
    refused = run(path)
    assert refused.returncode == 2
    assert f"error: {path} exists." in refused.stderr
    assert path.read_text("utf-8") == "SECRET_KEY=mine\n"
