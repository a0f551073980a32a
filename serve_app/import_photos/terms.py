"""Terms of a feed's rows, given by id or by name, as ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from db.vocabularies import Term
from models.errors import UnknownReference
from models.feed import FeedRow
from models.image import TERM_COLUMNS

PATHS = {"Category": "/api/categories/", "Styles": "/api/styles/", "AgeGroup": "/api/age-groups/"}


@dataclass(frozen=True)
class TermIds:
    """The vocabularies as they stand; names in any case of letters."""

    ids: Mapping[str, frozenset[int]]
    by_name: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, terms: Mapping[str, Sequence[Term]]) -> Self:
        ids = {field: frozenset(term.id for term in own) for field, own in terms.items()}
        names = {field: {_folded(term.name): term.id for term in own} for field, own in terms.items()}
        return cls(ids, names)

    def resolved(self, row: FeedRow) -> dict[str, Any]:
        """The row's values with ids for terms. Raises UnknownReference.

        Of the feed's own vocabulary the first name that exists counts, and none is no error.
        """
        values = dict(row.values)
        for field in TERM_COLUMNS.keys() & values.keys():
            values[field] = self._id_of(field, values[field])
        for field, names in row.loose_terms.items():
            known = [
                self.by_name[field][_folded(name)] for name in names if _folded(name) in self.by_name[field]
            ]
            if known and field not in values:
                values[field] = known[0]
        return values

    def _id_of(self, field: str, value: Any) -> int | None:
        if value is None:
            return None
        known = self.by_name[field].get(_folded(value)) if isinstance(value, str) else value
        if known not in self.ids[field]:
            raise UnknownReference(
                f"{field} {value!r} does not exist. GET {PATHS[field]} lists those that do."
            )
        return int(known)


def _folded(name: str) -> str:
    return name.strip().lower()
