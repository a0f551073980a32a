"""Words of other systems that may be terms of ours."""

from __future__ import annotations

from collections.abc import Iterable

from models.texts import storable_text
from serve_app.feeds.check_row import MAX_TERM_CHARS

MAX_CANDIDATES = 10
# The values of Google's specification that say the same as one of the terms that a new database has.
_AGE_GROUPS = {"newborn": "Baby", "infant": "Baby", "adult": "Adults"}


def loose_terms(categories: Iterable[str], age_group: str) -> dict[str, tuple[str, ...]]:
    """The names to look up, best first. Of a path like "Clothing > Dresses" that is its last step."""
    steps = [step for path in categories for step in reversed(path.split(">"))]
    ages = [age_group, _AGE_GROUPS.get(age_group.strip().lower(), "")]
    found = {"Category": _names(steps), "AgeGroup": _names(ages)}
    return {term: names for term, names in found.items() if names}


def _names(words: Iterable[str]) -> tuple[str, ...]:
    stripped = (word.strip() for word in words)
    return tuple(dict.fromkeys(word for word in stripped if _may_be_term(word)))[:MAX_CANDIDATES]


def _may_be_term(name: str) -> bool:
    """A number is the id of another vocabulary."""
    if not name or len(name) > MAX_TERM_CHARS or name.isdigit():
        return False
    try:
        storable_text(name)
    except ValueError:
        return False
    return True
