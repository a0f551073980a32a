"""A process of its own that answers lines on its standard input, each with one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Self

from models.errors import ConfigurationError

STOP_TIMEOUT_S = 30.0


class LineProcess:
    """As its parent sees it; between two lines it waits and takes no processor time."""

    def __init__(self, module: str, *words: str) -> None:
        """Runs ``python -m module words``."""
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: object) -> dict[str, Any]:
        """Its answer to one line. Raises ConfigurationError where it has ended instead."""
        asked, answers = self._process.stdin, self._process.stdout
        if asked is None or answers is None:
            raise AssertionError("both are pipes")
        try:
            asked.write(" ".join(map(str, words)) + "\n")
            asked.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise ConfigurationError(f"{self._module} ended early; its message is above.")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)  # closes its input, which ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def answer_lines(answer: Callable[[list[str]], dict[str, Any]]) -> None:
    """The other side: until standard input ends."""
    for line in sys.stdin:
        write_answer(answer(line.split()))


def write_answer(found: dict[str, Any]) -> None:
    """One answer."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
