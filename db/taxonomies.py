"""The shared vocabularies: categories, styles, age groups. One implementation for the three tables."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from db.session import allow_long_statements, violated_constraint
from models.errors import Conflict
from models.image import Image
from models.taxonomy import AgeGroup, Category, Style

Term = TypeVar("Term", Category, Style, AgeGroup)
DELETION_LOCK = 4_811_003
_COLUMNS = {Category: Image.category_id, Style: Image.style_id, AgeGroup: Image.age_group_id}


def list_terms(session: Session, table: type[Term]) -> list[Term]:
    """All terms of one vocabulary, by id."""
    return list(session.scalars(select(table).order_by(col(table.id))))


def get(session: Session, table: type[Term], term_id: int) -> Term | None:
    """One term."""
    return session.get(table, term_id)


def get_for_update(session: Session, table: type[Term], term_id: int) -> Term | None:
    """One term, locked against other changes until the transaction ends; photos may refer to it."""
    return session.get(table, term_id, with_for_update={"key_share": True})


def get_for_deletion(session: Session, table: type[Term], term_id: int) -> Term | None:
    """One term, locked so that no photo can begin to refer to it before the transaction ends.

    Deletions go one by one: two that waited for each other's photos could close a circle with a PATCH.
    """
    session.execute(select(func.pg_advisory_xact_lock(DELETION_LOCK)))
    return session.get(table, term_id, with_for_update=True)


def save(session: Session, term: Term, name: str, description: str) -> None:
    """Write a new or changed term now. Raises ``Conflict`` for a name that is in use, in whatever case."""
    table = type(term)
    try:
        with session.begin_nested():
            term.name, term.description = name, description
            session.add(term)
    except IntegrityError as error:
        if violated_constraint(error) != f"uq_{table.__tablename__}_name":
            raise
        taken = session.scalars(select(table).where(func.lower(table.name) == func.lower(name))).first()
        owner = "" if taken is None else f": '{taken.name}', id {taken.id}"
        message = f"The name '{name}' is in use{owner}. Choose one that differs in more than case."
        raise Conflict(message).at("/name") from error


def delete(session: Session, term: Term) -> int:
    """Remove a term that ``get_for_deletion`` locked; photos that use it lose it. Returns how many.

    The photos are locked in the order of their ids, as workers lock them.
    """
    allow_long_statements(session)
    column = col(_COLUMNS[type(term)])
    used = select(col(Image.id)).where(column == term.id).order_by(col(Image.id))
    locked = used.with_for_update(key_share=True).subquery()
    photos = session.scalar(select(func.count()).select_from(locked)) or 0
    if photos:
        cleared = update(Image).where(column == term.id).values({column: None, "updated_at": func.now()})
        session.execute(cleared.execution_options(synchronize_session=False))
    session.delete(term)
    session.flush()
    return photos
