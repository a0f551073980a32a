"""The people who run the service, and their sessions."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from models.errors import Conflict
from models.staff import Staff, StaffSession


def find(session: Session, email: str) -> Staff | None:
    """The person with that e-mail address, active or not."""
    return session.scalars(select(Staff).where(col(Staff.email) == email)).one_or_none()


def get_for_update(session: Session, staff_id: int) -> Staff | None:
    """The person, locked against a change of password or state until the transaction ends."""
    query = select(Staff).where(col(Staff.id) == staff_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def create(session: Session, email: str, password_hash: str) -> Staff:
    """Raises ``Conflict`` where the e-mail address is taken."""
    staff = Staff(email=email, password_hash=password_hash)
    try:
        with session.begin_nested():
            session.add(staff)
    except IntegrityError as error:
        raise Conflict(f"A member of staff with the e-mail address {email} exists already.") from error
    return staff


def start_session(session: Session, staff: Staff, token_hash: bytes, lifetime_s: float) -> StaffSession:
    """A new login of the person; the sessions of theirs that have expired go."""
    old = delete(StaffSession).where(col(StaffSession.staff_id) == staff.id)
    session.execute(old.where(col(StaffSession.expires_at) <= func.now()))
    until = session.scalar(select(func.now() + timedelta(seconds=lifetime_s)))
    if staff.id is None or until is None:
        raise AssertionError("a stored row has an id, and the database a clock")
    row = StaffSession(staff_id=staff.id, token_hash=token_hash, expires_at=until)
    session.add(row)
    session.execute(update(Staff).where(col(Staff.id) == staff.id).values(last_login_at=func.now()))
    session.flush()
    return row


def end_session(session: Session, session_id: int) -> bool:
    """False where it had ended before."""
    ended = delete(StaffSession).where(col(StaffSession.id) == session_id).returning(col(StaffSession.id))
    return session.execute(ended).one_or_none() is not None


def end_sessions(session: Session, staff_id: int) -> int:
    """All of the person's; returns how many there were."""
    ended = delete(StaffSession).where(col(StaffSession.staff_id) == staff_id).returning(col(StaffSession.id))
    return len(session.execute(ended).all())


def of_session(session: Session, token_hash: bytes) -> tuple[Staff, int] | None:
    """Who logged in with that token, and the session's id, while it lasts and the person is active."""
    return _one(session, _sessions().where(col(StaffSession.token_hash) == token_hash))


def of_session_id(session: Session, session_id: int) -> tuple[Staff, int] | None:
    """The same by the session's id."""
    return _one(session, _sessions().where(col(StaffSession.id) == session_id))


def _sessions() -> Select[Staff, int | None]:
    return (
        select(Staff, col(StaffSession.id))
        .join(StaffSession, col(StaffSession.staff_id) == col(Staff.id))
        .where(col(StaffSession.expires_at) > func.now(), col(Staff.active))
    )


def _one(session: Session, query: Select[Staff, int | None]) -> tuple[Staff, int] | None:
    row = session.execute(query).one_or_none()
    return None if row is None or row[1] is None else (row[0], row[1])
