"""What commands that work on the servers' data have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from dotenv import load_dotenv

from models.errors import AppError
from scripts.console import log


def run(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], int]) -> int:
    """The exit status: that of ``work``, or 2 after the one line of an AppError."""
    arguments = parser.parse_args()
    load_dotenv(".env")
    try:
        return work(arguments)
    except AppError as error:
        log.print(f"error: {error.message}", markup=False)
        return 2
