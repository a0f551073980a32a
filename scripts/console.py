"""Where scripts write: answers to standard output, everything else to standard error."""

from __future__ import annotations

from rich.console import Console

out = Console(highlight=False, soft_wrap=True, emoji=False)
log = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
