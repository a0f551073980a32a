"""What the driver of a reindex shows: a bar for people, lines of JSON for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

from scripts.console import log, out
from serve_app.gate import GateReport
from serve_app.regression import Figures
from serve_app.reindexing.parts import Outcome, Watcher

LINE_EVERY_S = 1.0
COLUMNS = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]


@contextmanager
def watching(*, as_json: bool) -> Iterator[Watcher]:
    """The bar goes to standard error, the lines to standard output."""
    if as_json:
        yield _Lines()
        return
    with Progress(*COLUMNS, TimeRemainingColumn(), console=log) as progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None)

    def phase(self, name: str) -> None:
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=None)

    def progress(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def note(self, text: str) -> None:
        self._progress.console.print(f"note: {text}", markup=False)


class _Lines:
    def __init__(self) -> None:
        self._phase, self._written_at = "starting", 0.0
        self._last: tuple[int, int] | None = None

    def phase(self, name: str) -> None:
        self._phase, self._written_at, self._last = name, 0.0, None
        _line(event="phase", phase=name)

    def progress(self, done: int, total: int) -> None:
        soon = done < total and time.monotonic() - self._written_at < LINE_EVERY_S
        if soon or self._last == (done, total):
            return
        self._written_at, self._last = time.monotonic(), (done, total)
        _line(event="progress", phase=self._phase, done=done, total=total)

    def note(self, text: str) -> None:
        _line(event="note", text=text)


def _line(**values: Any) -> None:
    print(json.dumps(values), flush=True)  # noqa: T201


def show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """The gate's figures, and what comes next."""
    if as_json:
        _line(event="result", **outcome.as_json())
        return
    if outcome.gate is not None:
        out.print(_gate_table(outcome.gate))
    for reason in outcome.reasons:
        out.print(reason, markup=False)
    if outcome.unreadable:
        out.print(
            f"{len(outcome.unreadable)} photos cannot be read: {_some(outcome.unreadable)}", markup=False
        )
    out.print(_sentence(outcome), markup=False)


def _sentence(outcome: Outcome) -> str:
    version = f"Version {outcome.version_id} ({outcome.model_key})"
    if outcome.state == "live":
        return f"{version} is live. Back: --rollback. Remove what is retired: --prune."
    if outcome.state == "ready":
        return f"{version} is filled, not live. Flip: the command without --no-flip. Give it up: --abort."
    return f"{version} is not live: the gate stopped it. Flip all the same: --force. Give it up: --abort."


def _some(unreadable: dict[int, str]) -> str:
    shown = [f"{image_id} ({reason})" for image_id, reason in sorted(unreadable.items())[:5]]
    return ", ".join(shown) + (", …" if len(unreadable) > len(shown) else "")


def _gate_table(report: GateReport) -> Table:
    table = Table()
    for heading in ("", "texts", "recall@1", "recall@10", "MRR@10", "overlap@10"):
        table.add_column(heading, justify="right" if heading else "left")
    _rows(table, "all shops", report.before, report.after, report.overlap)
    for shop in report.shops:
        if shop.regressions:
            _rows(table, f"shop {shop.shop_id}", shop.before, shop.after, shop.overlap)
    return table


def _rows(
    table: Table, who: str, before: Figures | None, after: Figures | None, overlap: float | None
) -> None:
    shared = "-" if overlap is None else f"{overlap:.3f}"
    table.add_row(f"{who}, live", *_cells(before), "")
    table.add_row(f"{who}, new", *_cells(after), shared)


def _cells(figures: Figures | None) -> Sequence[str]:
    if figures is None:
        return ("0", "-", "-", "-")
    shares = (figures.recall_at_1, figures.recall_at_10, figures.mrr_at_10)
    return (str(figures.queries), *(f"{share:.3f}" for share in shares))


def show_versions(found: dict[str, Any]) -> None:
    """All versions, and what the last command did or does."""
    job = found["job"]
    table = Table()
    for heading in ("version", "state", "model", "photos", "of", "live since"):
        table.add_column(heading, overflow="fold")
    for one in found["versions"]:
        names = ("version_id", "state", "model_key", "photos", "embedded", "live_at")
        table.add_row(*("" if one[name] is None else str(one[name]) for name in names))
    out.print(table)
    if job is not None:
        state = "at work" if job["at_work"] else job["status"]
        if job["status"] == "running" and not job["at_work"]:
            state = "killed; the same command goes on"
        counts = job["counts"]
        where = f"{counts.get('phase', '')} {counts.get('filled', 0)}/{counts.get('photos', 0)}".strip()
        out.print(f"Job {job['id']}: {state}, {where}. {job['error'] or ''}".rstrip(), markup=False)
