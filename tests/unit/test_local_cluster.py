"""What a failed start says."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.exceptions import RayTaskError
from ray.serve.schema import HTTPOptionsSchema, ServeDeploySchema

from models.errors import ConfigurationError
from serve_app import local_cluster
from serve_app.data_directory import SCRATCH_PREFIX, DataDirectory
from serve_app.local_cluster import LocalCluster, failure_reason

TRACEBACK = """Deploying app 'fashion' failed with exception:
Traceback (most recent call last):
  File "x.py", line 1, in <module>
{error}
"""


def test_our_own_message_is_taken_from_a_remote_traceback() -> None:
    error = "models.errors.ConfigurationError: CHROMA_URL is not set. Set it.\n\nSystem error:\nexit code 0."
    assert failure_reason(["", TRACEBACK.format(error=error)]) == "CHROMA_URL is not set. Set it."


def test_other_errors_are_named_by_their_last_telling_line() -> None:
    error = "ValueError: no\n    For further information visit https://errors.pydantic.dev/"
    assert failure_reason([TRACEBACK.format(error=error)]) == "ValueError: no"
    assert failure_reason([]) == "it gave no reason."


def test_of_an_error_in_an_actor_its_cause_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cause = RuntimeError("Failed to bind to address '127.0.0.1:1'.")
    error = RayTaskError("ProxyActor.ready", "Traceback ...", cause, "ray::ProxyActor", 7, "10.0.0.1")

    def fail(**_: object) -> None:
        raise error.as_instanceof_cause()

    monkeypatch.setattr(local_cluster, "serve_start", fail)
    schema = ServeDeploySchema(http_options=HTTPOptionsSchema(), applications=[])
    with pytest.raises(ConfigurationError, match=r"^Serve did not start: Failed to bind to address") as told:
        LocalCluster(tmp_path, tmp_path).deploy(schema)
    assert "ProxyActor" not in told.value.message


def test_a_killed_run_is_found_and_a_tidy_one_is_not(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    directory.create()
    first, second, foreign = (
        tmp_path / name for name in (f"{SCRATCH_PREFIX}1", f"{SCRATCH_PREFIX}2", "home")
    )
    for folder in (first, foreign):
        folder.mkdir()
    assert directory.replace_scratch(first) is None
    assert directory.replace_scratch(second) == first
    assert directory.replace_scratch(foreign) is None, "the second was removed at its end"
    assert directory.replace_scratch(first) is None, "never a folder that no launcher made"
