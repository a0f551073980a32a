"""Staff log in and out. A session is a row: ending it takes effect at the next request, everywhere."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from db import audit
from db import staff as people
from models.errors import InvalidInput, NotAuthenticated
from models.staff import Staff
from serve_app.authenticate import STAFF_TOKEN_PREFIX, staff_token_hash
from serve_app.client_address import ClientAddress
from serve_app.passwords import MAX_CHARACTERS
from serve_app.rate_limits import Verdict
from serve_app.services import Services
from serve_app.staff_accounts import checked_email

Admit = Callable[[Verdict], None]
WRONG = "The e-mail address or the password is wrong."


@dataclass(frozen=True, slots=True)
class NewSession:
    """A login. ``token`` is known whole only here."""

    session_id: int
    token: str
    expires_at: datetime


async def login(
    services: Services, email: str, password: str, address: ClientAddress, admit: Admit
) -> NewSession:
    """Raises NotAuthenticated, the same and after the same work for a wrong e-mail and a wrong password.

    ``admit`` raises TooManyRequests for a refused verdict. Only failed logins count against the limits.
    """
    verdict = await services.limiter.take_login(email, address)
    admit(verdict)
    staff = await _find(services, email)
    known = staff if staff is not None and staff.active else None
    # One that is too long for anybody's is not hashed whole.
    password = password[: MAX_CHARACTERS + 1]
    if not await services.passwords.matches(password, None if known is None else known.password_hash):
        await services.database.run(partial(_note_failure, staff=staff, address=address.text))
        raise NotAuthenticated(WRONG)
    if known is None:
        raise AssertionError("nobody's password never matches")
    token = STAFF_TOKEN_PREFIX + secrets.token_urlsafe(32)
    new_hash = None
    if services.passwords.needs_rehash(known.password_hash):
        new_hash = await services.passwords.hash_soon(password)
    start = partial(_start, staff=known, token=token, new_hash=new_hash, address=address.text)
    lifetime_s = services.accounts.session_h * 3600
    session = await services.database.run(partial(start, lifetime_s=lifetime_s))
    await services.limiter.give_back(verdict)
    return session


async def logout(services: Services, staff: Staff, session_id: int) -> None:
    """End that session of the person."""

    def end(session: Session) -> None:
        if people.end_session(session, session_id):
            audit.record(session, staff, "staff.logout", staff.email)

    await services.database.run(end)


async def _find(services: Services, email: str) -> Staff | None:
    try:
        checked = checked_email(email)
    except InvalidInput:
        return None
    return await services.database.read(partial(people.find, email=checked))


def _start(
    session: Session, *, staff: Staff, token: str, new_hash: str | None, address: str, lifetime_s: float
) -> NewSession:
    """Raises NotAuthenticated where the person was deactivated or the password changed meanwhile."""
    locked = people.get_for_update(session, staff.id) if staff.id is not None else None
    if locked is None or not locked.active or locked.password_hash != staff.password_hash:
        raise NotAuthenticated(WRONG)
    if new_hash is not None:
        locked.password_hash = new_hash
    row = people.start_session(session, locked, staff_token_hash(token), lifetime_s)
    audit.record(session, locked, "staff.login", locked.email, address=address)
    if row.id is None:
        raise AssertionError("a stored row has an id")
    return NewSession(row.id, token, row.expires_at)


def _note_failure(session: Session, *, staff: Staff | None, address: str) -> None:
    """Somebody's e-mail address is noted, nobody's is not: people type passwords into the wrong field."""
    audit.record(session, staff, "staff.login_failed", "" if staff is None else staff.email, address=address)
