"""The people who run the service, and their sessions."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from models.staff import Staff, StaffSession


def of_session(session: Session, token_hash: bytes) -> Staff | None:
    """Who logged in with that token, while the session lasts and the person is active."""
    query = (
        select(Staff)
        .join(StaffSession, col(StaffSession.staff_id) == col(Staff.id))
        .where(col(StaffSession.token_hash) == token_hash, col(StaffSession.expires_at) > func.now())
        .where(col(Staff.active))
    )
    return session.scalars(query).one_or_none()
