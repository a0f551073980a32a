"""A file that another process writes lines to."""

from __future__ import annotations

from pathlib import Path


class FollowedFile:
    """What is written from now on, line by line; the file need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = path.stat().st_size if path.exists() else 0

    def new_lines(self) -> list[str]:
        """Whole lines since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            whole = file.read().rpartition(b"\n")[0]
        self._read_bytes += len(whole) + 1 if whole else 0
        return whole.decode("utf-8", "replace").splitlines()
