"""Work on many collections, one after the other, with a bar; what was found as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from models.index_audit import Finding
from scripts.console import log, out
from scripts.opened_index import ShopCollection
from serve_app.audit_index import as_json
from serve_app.compare_index import Report

Work = Callable[[ShopCollection, Callable[[int], None]], Report]
COLUMNS = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]


def on_each(what: str, collections: Sequence[ShopCollection], work: Work) -> list[dict[str, Any]]:
    """The reports in JSON's shapes. ``work`` is given what moves the bar by a number of photos."""
    reports: list[dict[str, Any]] = []
    with Progress(*COLUMNS, TimeRemainingColumn(), console=log) as bar:
        task = bar.add_task(what, total=sum(one.photos for one in collections))
        for one in collections:
            bar.update(task, description=f"{what} {one.email}")
            report = work(one, lambda photos: bar.advance(task, photos))
            place = {"version_id": one.version.id, "shop_id": one.shop_id, "shop": one.email}
            reports.append({**place, **as_json(report), "repaired": {**report.repaired}})
    return reports


def print_reports(
    reports: Sequence[dict[str, Any]], foreign: Sequence[tuple[int, int]], *, as_document: bool
) -> None:
    """``foreign``: collections of what does not exist any more."""
    if as_document:
        unknown = [{"version_id": version_id, "shop_id": shop_id} for version_id, shop_id in foreign]
        out.print(json.dumps({"collections": list(reports), "foreign_collections": unknown}), markup=False)
        return
    table = Table()
    for heading in ("shop", "version", "photos", *Finding, "repaired", "left", "busy"):
        table.add_column(heading, justify="left" if heading == "shop" else "right")
    for one in reports:
        found = [str(one["found"].get(kind, 0)) for kind in Finding]
        repaired = "rebuilt" if one["rebuilt"] else str(sum(one["repaired"].values()))
        numbers = [str(one["version_id"]), str(one["photos"]), *found, repaired]
        table.add_row(one["shop"], *numbers, str(one["left"]), str(one["busy"]))
    out.print(table)
    for version_id, shop_id in foreign:
        out.print(f"Collection v{version_id}-shop{shop_id} belongs to nothing in the database.")
