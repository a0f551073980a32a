"""The record of what staff did."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from models.staff import AuditEntry, Staff


def record(session: Session, staff: Staff | None, action: str, target: object = "", **details: Any) -> None:
    """Note an action in the transaction that carries it out, so that neither is kept without the other.

    ``action`` is like ``category.delete``; ``details`` must be JSON and hold no secret. ``staff`` is None
    where nobody is known to have acted: the command line, or a login with an e-mail address of nobody.
    """
    entry = AuditEntry(
        staff_id=None if staff is None else staff.id,
        staff_email="" if staff is None else staff.email,
        action=action,
        target=str(target)[:250],
        details=details,
    )
    session.add(entry)
    session.flush()
