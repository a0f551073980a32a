"""Draw a run that was kept, as SVG beside its JSON.

    python -m scripts.benchmark.draw benchmark-results/search-2026-11-23-164012.json

Needs matplotlib: the extra ``benchmark``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.benchmark.charts import Bars, Chart, Lines, charts_of
from scripts.console import log

WIDTH_IN, HEIGHT_IN = 5.0, 4.0
BAR_IN = 0.32
MOST_TICKS = 16
MET, MISSED = "#2a7f62", "#c0392b"


def draw(path: Path) -> Path | None:
    """``NAME.svg`` beside ``NAME.json``; None, and a line on the console, where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        log.print(
            "No plot was drawn: matplotlib is not installed. Install it (pip install -e '.[benchmark]'), "
            f"then draw this run: python -m scripts.benchmark.draw {path}",
            markup=False,
        )
        return None
    matplotlib.use("svg")
    from matplotlib import pyplot

    document = json.loads(path.read_text("utf-8"))
    lines, bars = _sorted(charts_of(document))
    tall = 1.2 + BAR_IN * sum(len(one.multiples) for one in bars)
    figure = pyplot.figure(
        figsize=(WIDTH_IN * max(1, len(lines)), (HEIGHT_IN if lines else 0) + (tall if bars else 0)),
        layout="constrained",
    )
    heights = [HEIGHT_IN] * bool(lines) + [tall] * bool(bars)
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if lines:
        places = rows[0].subplots(1, len(lines), squeeze=False)[0]
        for axes, one in zip(places, lines, strict=True):
            _draw_lines(axes, one)
    if bars:
        _draw_bars(rows[-1].subplots(), bars[0])
    figure.suptitle(_title(document), fontsize=9)
    target = path.with_suffix(".svg")
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)
    return target


def _sorted(charts: list[Chart]) -> tuple[list[Lines], list[Bars]]:
    return [one for one in charts if isinstance(one, Lines)], [one for one in charts if isinstance(one, Bars)]


def _title(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    commit, _, changes = (machine["commit"] or "").partition("+")
    where = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"
    parts = document["benchmark"], where, document["date"][:10], commit[:7], changes
    return " · ".join(part for part in parts if part)


def _draw_lines(axes: Any, chart: Lines) -> None:
    places = sorted({x for points in chart.lines.values() for x, _ in points})
    many = len(places) > MOST_TICKS
    for name, points in chart.lines.items():
        x, y = zip(*points, strict=True) if points else ((), ())
        style = "steps-post" if chart.steps else "default"
        axes.plot(x, y, marker="" if many else "o", markersize=4, drawstyle=style, label=name)
    if not many:
        if len(places) > 1 and places[-1] >= 8 * places[0]:
            axes.set_xscale("log")
        axes.set_xticks(places, [f"{one:,.0f}" for one in places])
    axes.minorticks_off()
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    if chart.zero:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _draw_bars(axes: Any, chart: Bars) -> None:
    names = list(chart.multiples)
    colours = [MET if name in chart.met else MISSED for name in names]
    axes.barh(names, list(chart.multiples.values()), color=colours, height=0.6)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("times its limit")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        drawn = draw(Path(name))
        if drawn is not None:
            log.print(str(drawn), markup=False)
