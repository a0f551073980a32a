"""The record of what staff did."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from models.staff import AuditEntry, Staff


def record(session: Session, staff: Staff, action: str, target: object = "", **details: Any) -> None:
    """Note an action in the transaction that carries it out, so that neither is kept without the other.

    ``action`` is like ``category.delete``; ``details`` must be JSON and hold no secret.
    """
    entry = AuditEntry(
        staff_id=staff.id, staff_email=staff.email, action=action, target=str(target)[:250], details=details
    )
    session.add(entry)
    session.flush()
