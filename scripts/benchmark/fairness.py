"""What one shop's backlog does to another shop's single upload and to claims, and the other way round.

Three situations: nothing waits; a small backlog of another shop; and 1,000,000 photos of it. Backlogs are
planted as rows that share one file, and are worked on meanwhile. In each the same: single uploads over HTTP,
one after the other, timed from the request to `embedded`, and claims of work, timed and rolled back. At last
the backlog's own rate beside such uploads is held against its rate without any.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.table import Table
from sqlalchemy import text

from db import work
from db.session import allow_long_statements
from scripts.benchmark.backlog import plant_many
from scripts.benchmark.photos import PhotoFile, jpeg, write_photos
from scripts.benchmark.workbench import PREFIX, Shop, Workbench, workbench
from scripts.console import log
from scripts.measurement.report import Figure

# Issue 5: a large backlog "does not delay another shop's single upload". Both share the machine's cores.
MOST_UPLOAD_RATIO = 3.0
# The lane of single uploads rests for as long as it works.
LEAST_BULK_SHARE = 0.5
SMALL_BACKLOG = 3_000
BULK_S = 20.0
LEASE_S = 30.0
WAIT_S = 60
Times = dict[str, list[float]]


def measure(directory: Path, model: str | None, backlog: int, uploads: int) -> tuple[list[Figure], Any]:
    """The figures, and the seconds and photos a second that they come from. Prints a table."""
    with workbench(directory, model) as bench:
        photo = write_photos(bench.media, 1)[0]
        large, single = bench.new_shop("large"), bench.new_shop("single")
        _uploads(bench, single, 2, "warm-up")
        bench.wait_until_quiet()
        upload_s: Times = {"nothing": _uploads(bench, single, uploads, "nothing")}
        claim_s: Times = {"nothing": _claims(bench, uploads)}
        for count in (SMALL_BACKLOG, backlog):
            name = f"{count:,} photos"
            _plant(bench, large, f"{PREFIX}/{photo.path.name}", photo, count)
            with _progress(bench, large) as embedded:
                upload_s[name] = _uploads(bench, single, uploads, name)
            if not embedded():
                raise AssertionError("the backlog was not worked on meanwhile")
            claim_s[name] = _claims(bench, uploads)
        per_s = _bulk_rates(bench, large, single)
    _print(upload_s, claim_s)
    return _figures(upload_s, claim_s, per_s), {"upload_s": upload_s, "claim_s": claim_s, "bulk_per_s": per_s}


def _plant(bench: Workbench, shop: Shop, key: str, photo: PhotoFile, count: int) -> None:
    """As PostgreSQL knows it some minutes later: its plans depend on what it has counted."""
    started = time.perf_counter()
    plant_many(bench.database, shop.id, key, photo, count)
    with bench.database.transaction() as session:
        allow_long_statements(session)
        session.execute(text("ANALYZE image"))
    log.print(f"{count:,} photos planted after {time.perf_counter() - started:.0f} s")


def _bulk_rates(bench: Workbench, large: Shop, single: Shop) -> dict[str, float]:
    """Photos of the backlog a second, with nothing beside and with uploads that do not end."""
    found = {}
    with _progress(bench, large) as embedded:
        time.sleep(BULK_S)
    found["alone"] = embedded() / BULK_S
    started = time.perf_counter()
    with _progress(bench, large) as embedded:
        number = 0
        while time.perf_counter() - started < BULK_S:
            _uploads(bench, single, 1, f"endless {number}")
            number += 1
        elapsed_s = time.perf_counter() - started
    found["beside uploads"] = embedded() / elapsed_s
    found["uploads"] = number / elapsed_s
    return found


@contextmanager
def _progress(bench: Workbench, shop: Shop) -> Iterator[Callable[[], int]]:
    """How many photos of the shop became `embedded` meanwhile."""
    ends: list[int] = []

    def look() -> None:
        query = text("SELECT count(*) FROM image WHERE shop_id = :shop_id AND status = 'embedded'")
        with bench.database.transaction() as session:
            ends.append(session.scalars(query, {"shop_id": shop.id}).one())

    look()
    yield lambda: ends[1] - ends[0]
    look()


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
            few = bench.args.indexer.few_photos
            work.claim_embedding(
                session, limit=size, lease_s=LEASE_S, max_attempts=attempts, few=few, fresh_s=2.0
            )
            times_s.append(time.perf_counter() - started)
            session.rollback()
    return times_s


def _figures(upload_s: Times, claim_s: Times, per_s: dict[str, float]) -> list[Figure]:
    idle, small, large = upload_s
    return [
        *(
            Figure(f"upload to embedded, s, beside {name}", statistics.median(own))
            for name, own in upload_s.items()
        ),
        Figure(
            f"the median beside {large} over that beside {idle}",
            statistics.median(upload_s[large]) / statistics.median(upload_s[idle]),
            most=MOST_UPLOAD_RATIO,
        ),
        Figure(
            f"a claim beside {large} over one beside {small}",
            statistics.median(claim_s[large]) / statistics.median(claim_s[small]),
        ),
        Figure(
            "the backlog's photos a second beside endless single uploads over those without",
            per_s["beside uploads"] / per_s["alone"],
            least=LEAST_BULK_SHARE,
        ),
    ]


def _print(upload_s: Times, claim_s: Times) -> None:
    table = Table("backlog", "upload to embedded, s", "slowest, s", "claim, ms", title="Medians")
    for name, own in upload_s.items():
        claim_ms = 1000 * statistics.median(claim_s[name])
        table.add_row(name, f"{statistics.median(own):.2f}", f"{max(own):.2f}", f"{claim_ms:.1f}")
    log.print(table)
