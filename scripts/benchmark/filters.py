"""What filters cost and how right their answers are, on 20,000 photos whose vectors imitate real ones.

First the parts alone, on a PostgreSQL and a Chroma of their own: answers against NumPy in set, order and
score, where PostgreSQL names the photos that match and where the index is filtered afterwards. Then a whole
service with the demo model, over HTTP. The photos are stored directly. Unfiltered and filtered queries take
turns, so that both meet the same machine. The index by size of catalogue is ``search``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.benchmark.mixed import quantiles_ms
from scripts.measurement import in_process, over_http
from scripts.measurement.report import Figure, Times


def measure(directory: Path, photos: int, queries: int, *, parts_only: bool) -> tuple[list[Figure], Any]:
    """The figures, and the times by filter. ``parts_only``: without the service. Prints tables."""
    figures, times_s = in_process.measure(directory / "parts", photos, queries)
    details = {"parts_ms": _quantiles(times_s)}
    if not parts_only:
        of_service, times_s = over_http.measure(directory / "service", photos, queries)
        figures, details = figures + of_service, details | {"http_ms": _quantiles(times_s)}
    return figures, details


def _quantiles(times_s: Times) -> Mapping[str, dict[str, float]]:
    return {name: quantiles_ms(own) for name, own in times_s.items()}
