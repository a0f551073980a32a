"""A member of staff's view of the service over HTTP, real or in process."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import col

from db import staff as people
from db.session import Database
from models.staff import AuditEntry
from serve_app.authenticate import STAFF_TOKEN_PREFIX, staff_token_hash
from tests.shop_client import Http


@dataclass(frozen=True)
class StaffClient:
    """One person, logged in."""

    http: Http
    database: Database
    staff_id: int
    token: str

    def request(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        return self.http.request(method, path, headers=headers, **options)

    def add_term(self, vocabulary: str, name: str | None = None, **fields: Any) -> dict[str, Any]:
        """A new term, as the service answered; its name is like no other."""
        body = {"name": name or f"Term {uuid.uuid4().hex}"} | fields
        answer = self.request("POST", f"/api/{vocabulary}/", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def delete_term(self, vocabulary: str, term_id: int) -> Any:
        return self.request("DELETE", f"/api/{vocabulary}/{term_id}/")

    def audited(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(action, target, details) of this person's entries, oldest first."""
        query = (
            select(AuditEntry).where(col(AuditEntry.staff_id) == self.staff_id).order_by(col(AuditEntry.id))
        )
        with self.database.transaction() as session:
            return [(row.action, row.target, row.details) for row in session.scalars(query)]


def new_staff(http: Http, database: Database) -> StaffClient:
    """Somebody who logged in for an hour, without a password."""
    token = STAFF_TOKEN_PREFIX + secrets.token_urlsafe(32)
    with database.transaction() as session:
        staff = people.create(session, f"{uuid.uuid4().hex}@example.com", "unused")
        people.start_session(session, staff, staff_token_hash(token), 3600)
        assert staff.id is not None
        return StaffClient(http, database, staff.id, token)
