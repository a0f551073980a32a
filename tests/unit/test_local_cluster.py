"""What a failed start says."""

from __future__ import annotations

from pathlib import Path

from serve_app.data_directory import SCRATCH_PREFIX, DataDirectory
from serve_app.local_cluster import failure_reason

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
