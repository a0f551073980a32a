"""Write a .env like .env.example, with random secrets where Docker Compose needs them.

    python3 -m scripts.new_env

Needs nothing but Python. A .env that is there already is left alone.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
NEEDED = "# [compose]"


def with_secrets(example: str) -> str:
    """The same text, each empty variable below a comment that is marked ``[compose]`` filled in."""
    lines, needed = [], False
    for line in example.splitlines():
        if line.startswith("#"):
            needed = needed or line.startswith(NEEDED)
        elif needed and line.endswith("="):
            line += secrets.token_hex(32)
        if not line.startswith("#"):
            needed = False
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> int:
    arguments = _parser().parse_args()
    text = with_secrets((PROJECT / ".env.example").read_text("utf-8"))
    try:
        descriptor = os.open(arguments.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.stderr.write(f"error: {arguments.path} exists. Edit it, or move it away first.\n")
        return 2
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    sys.stderr.write(f"Wrote {arguments.path}. Keep it as you keep the database: it holds the secrets.\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python3 -m scripts.new_env", description=summary)
    parser.add_argument("path", nargs="?", type=Path, default=Path(".env"), help="default: .env")
    return parser


if __name__ == "__main__":
    sys.exit(main())
