"""The shared vocabularies: categories, styles, age groups."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from models.taxonomy import AgeGroup, Category, Style

Term = TypeVar("Term", Category, Style, AgeGroup)
Table = type[Category] | type[Style] | type[AgeGroup]


def list_terms(session: Session, table: type[Term]) -> list[Term]:
    """All terms of one vocabulary, by id."""
    return list(session.scalars(select(table).order_by(col(table.id))))


def missing_terms(
    session: Session, category_id: int | None, style_id: int | None, age_group_id: int | None
) -> list[str]:
    """The names of those arguments that hold an id which does not exist."""
    wanted: dict[str, tuple[Table, int | None]] = {
        "category_id": (Category, category_id),
        "style_id": (Style, style_id),
        "age_group_id": (AgeGroup, age_group_id),
    }
    return [
        field
        for field, (table, term_id) in wanted.items()
        if term_id is not None and not _exists(session, table, term_id)
    ]


def _exists(session: Session, table: Table, term_id: int) -> bool:
    return 0 < term_id < 2**31 and session.get(table, term_id) is not None
