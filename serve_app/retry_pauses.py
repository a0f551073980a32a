"""How long to wait before asking another server again, and when to give up."""

from __future__ import annotations

PATIENCE_S = 3 * 24 * 3600.0


def pause_after(
    attempts: int, first_s: float, *, factor: float = 2.0, longest_s: float = 15 * 60.0
) -> float | None:
    """Seconds until the next attempt, up to ``longest_s``; None when three days of pauses are over."""
    waited_s, pause_s = 0.0, min(first_s, longest_s)
    for _ in range(attempts - 1):
        waited_s += pause_s
        pause_s = min(pause_s * factor, longest_s)
    return None if waited_s >= PATIENCE_S else pause_s
