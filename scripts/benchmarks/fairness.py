"""What one shop's backlog does to another shop's single upload, and to the claims of work.

Three situations: nothing waits; a small backlog of another shop, so that bulk work is under way; and
1,000,000 photos of it. Backlogs are planted as rows that share one file. In each the same: single uploads
over HTTP, timed from the request to `embedded`, and claims of work, timed and rolled back. What counts is the
large backlog beside the small one: it is work of the same kind, and only more of it.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from db import work
from scripts.benchmarks.backlog import plant_many
from scripts.benchmarks.photos import jpeg, write_photos
from scripts.benchmarks.workbench import PREFIX, Shop, Workbench, workbench
from scripts.console import log
from scripts.measurement.report import Figure

# Issue 5: a large backlog "does not delay another shop's single upload". The rest is the machine's noise.
MOST_UPLOAD_RATIO = 1.5
SMALL_BACKLOG = 3_000
LEASE_S = 30.0
WAIT_S = 60
Times = dict[str, list[float]]


def measure(directory: Path, model: str | None, backlog: int, uploads: int) -> tuple[list[Figure], Any]:
    """The figures, and the seconds that they come from. Prints a table."""
    with workbench(directory, model) as bench:
        photo = write_photos(bench.media, 1)[0]
        large, single = bench.new_shop("large"), bench.new_shop("single")
        _uploads(bench, single, 2, "warm-up")
        bench.wait_until_quiet()
        upload_s: Times = {"nothing": _uploads(bench, single, uploads, "nothing")}
        claim_s: Times = {"nothing": _claims(bench, uploads)}
        for count in (SMALL_BACKLOG, backlog):
            name = f"{count:,} photos"
            started = time.perf_counter()
            plant_many(bench.database, large.id, f"{PREFIX}/{photo.path.name}", photo, count)
            log.print(f"{name} planted after {time.perf_counter() - started:.0f} s")
            upload_s[name] = _uploads(bench, single, uploads, name)
            claim_s[name] = _claims(bench, uploads)
    _print(upload_s, claim_s)
    return _figures(upload_s, claim_s), {"upload_s": upload_s, "claim_s": claim_s}


def _uploads(bench: Workbench, shop: Shop, count: int, name: str) -> list[float]:
    """Seconds from the request to the answer that says `embedded`."""
    times_s = []
    with bench.client(shop) as client:
        for number in range(count):
            photo = jpeg([len(name), *name.encode(), number])
            started = time.perf_counter()
            answer = client.post(
                "/api/image-collection/",
                params={"wait": WAIT_S},
                data={"name": f"Single {number}", "sku": f"{name}-{number}"},
                files={"Photo": ("photo.jpg", photo, "image/jpeg")},
            ).raise_for_status()
            times_s.append(time.perf_counter() - started)
            if answer.json()["status"] != "embedded":
                raise AssertionError(f"a single upload was not embedded within {WAIT_S} s")
    return times_s


def _claims(bench: Workbench, count: int) -> list[float]:
    """Seconds of claims of work, each rolled back."""
    times_s = []
    for _ in range(count):
        with bench.database.transaction() as session:
            started = time.perf_counter()
            size, attempts = bench.args.indexer.claim_size, bench.args.indexer.max_attempts
            work.claim_embedding(session, limit=size, lease_s=LEASE_S, max_attempts=attempts)
            times_s.append(time.perf_counter() - started)
            session.rollback()
    return times_s


def _figures(upload_s: Times, claim_s: Times) -> list[Figure]:
    """The last situation beside the one before it."""
    small, large = list(upload_s)[-2:]
    return [
        *(
            Figure(f"upload to embedded, s, beside {name}", statistics.median(own))
            for name, own in upload_s.items()
        ),
        Figure(
            f"the median beside {large} over that beside {small}",
            statistics.median(upload_s[large]) / statistics.median(upload_s[small]),
            most=MOST_UPLOAD_RATIO,
        ),
        Figure(
            f"a claim beside {large} over one beside {small}",
            statistics.median(claim_s[large]) / statistics.median(claim_s[small]),
        ),
    ]


def _print(upload_s: Times, claim_s: Times) -> None:
    table = Table("backlog", "upload to embedded, s", "slowest, s", "claim, ms", title="Medians")
    for name, own in upload_s.items():
        claim_ms = 1000 * statistics.median(claim_s[name])
        table.add_row(name, f"{statistics.median(own):.2f}", f"{max(own):.2f}", f"{claim_ms:.1f}")
    log.print(table)
