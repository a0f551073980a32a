"""Who is staff: made, given a new password, deactivated. Every change of these ends the person's sessions."""

from __future__ import annotations

import re

from sqlalchemy.orm import Session

from db import audit
from db import staff as people
from models.errors import Conflict, InvalidInput, NotFound
from models.staff import Staff

_EMAIL = re.compile(r"[^@\s\x00-\x1f\ud800-\udfff]+@[^@\s\x00-\x1f\ud800-\udfff]+")


def checked_email(text: str) -> str:
    """In the form in which it is stored. Raises InvalidInput."""
    email = text.strip().lower()
    if len(email) > 320 or not _EMAIL.fullmatch(email):
        raise InvalidInput(f"{email[:60]!r} is not an e-mail address.")
    return email


def create(session: Session, email: str, password_hash: str) -> Staff:
    """Raises Conflict where the e-mail address is taken."""
    staff = people.create(session, email, password_hash)
    audit.record(session, None, "staff.create", email)
    return staff


def set_password(session: Session, email: str, password_hash: str) -> int:
    """Also lets a deactivated person in again. Returns how many sessions it ended. Raises NotFound."""
    staff = _known(session, email)
    ended = people.end_sessions(session, staff.id or 0)
    was_active, staff.password_hash, staff.active = staff.active, password_hash, True
    audit.record(session, None, "staff.set_password", email, was_active=was_active, sessions_ended=ended)
    return ended


def deactivate(session: Session, actor: Staff | None, email: str) -> int:
    """Returns how many sessions it ended. Raises NotFound, Conflict (oneself)."""
    staff = _known(session, email)
    if actor is not None and actor.id == staff.id:
        raise Conflict("You cannot deactivate yourself. Another member of staff can.")
    ended = people.end_sessions(session, staff.id or 0)
    was_active, staff.active = staff.active, False
    audit.record(session, actor, "staff.deactivate", email, was_active=was_active, sessions_ended=ended)
    return ended


def deactivate_by_id(session: Session, actor: Staff, staff_id: int) -> bool:
    """The same by the person's id; false where the person was not active."""
    staff = people.get_for_update(session, staff_id)
    if staff is None:
        raise NotFound(f"There is no member of staff {staff_id}.")
    if not staff.active:
        return False
    deactivate(session, actor, staff.email)
    return True


def _known(session: Session, email: str) -> Staff:
    found = people.find(session, email)
    locked = people.get_for_update(session, found.id) if found is not None and found.id is not None else None
    if locked is None:
        raise NotFound(f"There is no member of staff with the e-mail address {email}.")
    return locked
