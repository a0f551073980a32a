"""Words of other systems that may be terms of ours."""

from __future__ import annotations

from models.texts import storable_text
from serve_app.feeds.check_row import MAX_TERM_CHARS


def loose_terms(category: str, age_group: str) -> dict[str, str]:
    """The terms to look up: of a path like "Clothing > Dresses" its last step; a number says nothing."""
    found = {"Category": category.rpartition(">")[2].strip(), "AgeGroup": age_group.strip()}
    return {term: name for term, name in found.items() if _may_be_term(name)}


def _may_be_term(name: str) -> bool:
    if not name or len(name) > MAX_TERM_CHARS or name.isdigit():
        return False
    try:
        storable_text(name)
    except ValueError:
        return False
    return True
