"""What of a run's JSON is drawn: lines of a measure over a size, or figures beside their limits."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Points = list[tuple[float, float]]
Details = Mapping[str, Any]


@dataclass(frozen=True)
class Lines:
    """``lines`` by name; ``x`` and ``y`` say what the axes are. ``zero``: y begins there. ``steps``: a value
    holds until the next one."""

    x: str
    y: str
    lines: Mapping[str, Points]
    zero: bool = True
    steps: bool = False


@dataclass(frozen=True)
class Bars:
    """Figures by name, each as a multiple of its limit; ``met`` are those that keep it."""

    multiples: Mapping[str, float]
    met: frozenset[str]


Chart = Lines | Bars


def charts_of(document: Mapping[str, Any]) -> list[Chart]:
    """Of one run: those of its kind, or its limits where it has none of its own."""
    make = KINDS.get(document["benchmark"])
    charts = [] if make is None else make(document["details"])
    limits = _limits(document["figures"])
    return [*charts, *([limits] if limits.multiples else [])]


def _limits(figures: Sequence[Mapping[str, Any]]) -> Bars:
    multiples = {}
    for figure in figures:
        limit = figure["least"] if figure["least"] is not None else figure["most"]
        if limit:
            kind = "≥" if figure["least"] is not None else "≤"
            multiples[f"{figure['name']} ({kind} {limit:g})"] = figure["value"] / limit
    met = {figure["name"] for figure in figures if figure["met"]}
    return Bars(multiples, frozenset(name for name in multiples if name.rpartition(" (")[0] in met))


def _bare(details: Details, what: str) -> Lines:
    lines: dict[str, Points] = defaultdict(list)
    for row in details["bare"]:
        lines[row["setting"]].append((row["batch"], row["rate"]))
    return Lines("batch", f"{what}/s, bare encoder", lines)


def _text(details: Details) -> list[Chart]:
    replica = details["replica"]
    lines: dict[str, Points] = {
        name: [(int(callers), statistics.median(one[key])) for callers, one in replica.items()]
        for name, key in (("replica through its handle", "rate"), ("bare encoder, same batch", "bare_rate"))
    }
    return [_bare(details, "prompts"), Lines("callers", "prompts/s", lines)]


def _image(details: Details) -> list[Chart]:
    return [_bare(details, "photos")]


def _bulk(details: Details) -> list[Chart]:
    lines: dict[str, Points] = {
        name: [(number, rate) for number, rate in enumerate(rates, start=1)]
        for name, rates in details["rates"].items()
    }
    return [Lines("round", "photos/s", lines)]


def _handover(details: Details) -> list[Chart]:
    lines: dict[str, Points] = defaultdict(list)
    for row in details["calls"]:
        lines[row["way"]].append((row["photos"], row["call_ms"]))
    return [Lines("photos of a call", "ms a call, without the model", lines)]


def _search(details: Details) -> list[Chart]:
    sizes = {int(size): one for size, one in details["sizes"].items()}

    def lines(table: str, keys: Sequence[str]) -> dict[str, Points]:
        return {key: [(size, one[table][key]) for size, one in sizes.items()] for key in keys}

    first = next(iter(sizes.values()))
    times = {f"single, {key}": own for key, own in lines("single_ms", ("p50", "p99")).items()}
    times |= {f"filtered, {key}": own for key, own in lines("filtered_ms", ("p50", "p99")).items()}
    rates = {
        f"batches of {key}": own for key, own in lines("queries_per_s", [*first["queries_per_s"]]).items()
    }
    return [
        Lines("photos", "ms", times),
        Lines("photos", "recall@10", lines("recall", [*first["recall"]]), zero=False),
        Lines("photos", "queries/s", rates),
    ]


def _query(details: Details) -> list[Chart]:
    rates: dict[str, Points] = defaultdict(list)
    times: dict[str, Points] = defaultdict(list)
    for clients, one in details["closed"].items():
        for who in ("service", "peer"):
            if found := one.get(who):
                rates[who].append((int(clients), statistics.median(found["rate"])))
                for key in ("p50", "p99"):
                    times[f"{who}, {key}"].append((int(clients), found[key]))
    opened = {
        key: [(float(due.removesuffix("/s")), found[key]) for due, found in details["open"].items()]
        for key in ("p50", "p99")
    }
    return [
        Lines("clients", "answers/s", rates),
        Lines("clients", "ms", times),
        Lines("requests due a second, open loop", "ms", opened),
    ]


def _autoscale(details: Details) -> list[Chart]:
    windows, seconds = details["windows"], details["window_s"]

    def over_time(key: str) -> Points:
        return [
            (one["start_s"] + seconds / 2, one[key] / (seconds if key == "answered" else 1))
            for one in windows
            if one[key] is not None
        ]

    replicas: dict[str, Points] = {
        key: [(one["moment_s"], one[key]) for one in details["replicas"]]
        for key in ("running", "starting", "stopping")
    }
    return [
        Lines("seconds", "requests/s", {key: over_time(key) for key in ("offered", "answered")}),
        Lines("seconds", f"replicas of the {details['deployment']}", replicas, steps=True),
        Lines("seconds", "ms", {"p50": over_time("p50_ms"), "p99": over_time("p99_ms")}),
    ]


KINDS: dict[str, Callable[[Details], list[Chart]]] = {
    "text": _text,
    "handover": _handover,
    "image": _image,
    "bulk": _bulk,
    "search": _search,
    "query": _query,
    "autoscale": _autoscale,
}
