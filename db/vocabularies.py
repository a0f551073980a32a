"""The three vocabularies as they stand, for what compares photos with all of their terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import literal, select, union_all
from sqlalchemy.orm import Session
from sqlmodel import col

from models.taxonomy import AgeGroup, Category, Style

TABLES: dict[str, type[Any]] = {"Category": Category, "Styles": Style, "AgeGroup": AgeGroup}


@dataclass(frozen=True, slots=True)
class Term:
    id: int
    name: str
    description: str


def all_terms(session: Session) -> dict[str, list[Term]]:
    """By the photo's field that holds them, each by id; one query."""
    queries = [
        select(literal(field), col(table.id), col(table.name), col(table.description))
        for field, table in TABLES.items()
    ]
    found: dict[str, list[Term]] = {field: [] for field in TABLES}
    for field, *term in session.execute(union_all(*queries)):
        found[field].append(Term(*term))
    for terms in found.values():
        terms.sort(key=lambda term: term.id)
    return found
