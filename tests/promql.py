"""Which series a PromQL expression asks for, and whether a metrics page has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

KEYWORDS = {
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "inf",
    "nan",
}
_STRING = r'"(?:[^"\\]|\\.)*"'
_LABELS = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_LISTS = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(?!\s*\(|\w)")


@dataclass(frozen=True)
class Matcher:
    label: str
    operator: str
    value: str

    def fits(self, labels: dict[str, str]) -> bool:
        """As Prometheus: a label that is missing is empty."""
        given = labels.get(self.label, "")
        same = re.fullmatch(self.value, given) is not None if "~" in self.operator else given == self.value
        return same != self.operator.startswith("!")


@dataclass(frozen=True)
class Selector:
    name: str
    matchers: tuple[Matcher, ...]

    def of(self, page: Iterable[Sample]) -> list[Sample]:
        """The samples that it selects."""
        return [
            sample
            for sample in page
            if sample.name == self.name and all(one.fits(sample.labels) for one in self.matchers)
        ]


def selectors(expression: str) -> list[Selector]:
    """Every metric that it names, with its matchers."""
    without_lists = _LISTS.sub(" ", re.sub(r"\[[^\]]*\]", " ", expression))
    found = []
    for match in _SELECTOR.finditer(without_lists):
        name, braces = match.groups()
        if name in KEYWORDS or _inside_braces(without_lists, match.start()):
            continue
        matchers = (Matcher(label, how, text[1:-1]) for label, how, text in _LABELS.findall(braces or ""))
        found.append(Selector(name, tuple(matchers)))
    return found


def grouping_labels(expression: str) -> set[str]:
    """Labels that it sums by."""
    return {
        label.strip()
        for _, names in _LISTS.findall(expression)
        for label in names.split(",")
        if label.strip()
    }


def samples(page: str) -> list[Sample]:
    """Of a metrics page in Prometheus' text format."""
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def _inside_braces(text: str, place: int) -> bool:
    before = text[:place]
    return before.count("{") > before.count("}")
