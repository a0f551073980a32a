"""The three vocabularies as they stand, for what compares photos with all of their terms."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


def hold(session: Session, wanted: Mapping[str, Collection[int]]) -> bool:
    """Keep these terms, by field, from being deleted until the transaction ends; false where one is gone.

    To be asked for before photos are locked: a term's deletion locks the term first, then its photos.
    """
    for field, ids in wanted.items():
        table = TABLES[field]
        held = select(col(table.id)).where(col(table.id).in_(ids)).order_by(col(table.id))
        if ids and len(session.scalars(held.with_for_update(read=True, key_share=True)).all()) < len(ids):
            return False
    return True
