"""Categories, styles and age groups, as staff keep them. Each change is audited in its own transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from db import audit, taxonomies
from db.taxonomies import Term
from models.errors import NotFound
from models.staff import Staff
from models.taxonomy_api import TermChanges, TermFields


def get_term(session: Session, table: type[Term], term_id: int) -> Term:
    """Raises NotFound."""
    return _found(table, term_id, taxonomies.get(session, table, term_id))


def create_term(session: Session, staff: Staff, table: type[Term], fields: TermFields) -> Term:
    """Raises Conflict for a name that is in use."""
    term = table(name=fields.name)
    taxonomies.save(session, term, fields.name, fields.description)
    audit.record(session, staff, f"{table.__tablename__}.create", term.id, after=_shown(term))
    return term


def change_term(
    session: Session, staff: Staff, table: type[Term], term_id: int, changes: TermChanges
) -> Term:
    """Change what is given. Raises NotFound; Conflict for a name that is in use."""
    term = _found(table, term_id, taxonomies.get_for_update(session, table, term_id))
    before = _shown(term)
    after = before | changes.model_dump(include=changes.model_fields_set)
    taxonomies.save(session, term, **after)
    if after != before:
        audit.record(session, staff, f"{table.__tablename__}.update", term_id, before=before, after=after)
    return term


def delete_term(session: Session, staff: Staff, table: type[Term], term_id: int) -> int:
    """Remove a term; the photos that use it lose it, in the search index a little later. Returns how many.

    Raises NotFound.
    """
    term = _found(table, term_id, taxonomies.get_for_deletion(session, table, term_id))
    before = _shown(term)
    photos = taxonomies.delete(session, term)
    action = f"{table.__tablename__}.delete"
    audit.record(session, staff, action, term_id, before=before, photos_changed=photos)
    return photos


def _found(table: type[Term], term_id: int, term: Term | None) -> Term:
    if term is None:
        raise NotFound(f"There is no {str(table.__tablename__).replace('_', ' ')} {term_id}.")
    return term


def _shown(term: Term) -> dict[str, Any]:
    return {"name": term.name, "description": term.description}
