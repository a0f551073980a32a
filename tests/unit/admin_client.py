"""A browser at the in-process admin, and somebody who may use it."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlmodel import col
from starlette.testclient import TestClient

from models.staff import AuditEntry, Staff
from serve_app import staff_accounts
from serve_app.passwords import Passwords
from tests.unit.conftest import CHEAP, FakeService

PASSWORD = "correct horse battery"
HERE = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Browser:
    """Keeps cookies of its own, and says where its requests come from, as browsers do."""

    http: TestClient
    service: FakeService
    email: str
    staff_id: int

    def get(self, path: str, **options: Any) -> Any:
        return self.http.get(f"/admin{path}", headers=HERE | options.pop("headers", {}), **options)

    def post(self, path: str, **options: Any) -> Any:
        headers = HERE | options.pop("headers", {})
        return self.http.post(f"/admin{path}", headers=headers, follow_redirects=False, **options)

    def login(self, password: str = PASSWORD, **options: Any) -> Any:
        return self.post("/login", data={"username": self.email, "password": password}, **options)

    def act(self, identity: str, action: str, *ids: int) -> str:
        """The sentence that the page shows afterwards."""
        pks = ",".join(map(str, ids))
        answer = self.get(f"/{identity}/action/{action}", params={"pks": pks}, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        page = self.http.get(answer.headers["location"], headers=HERE)
        assert page.status_code == 200
        return " ".join(re.findall(r'role="alert">([^<]+)<', page.text))

    def audited(self, action: str) -> list[tuple[str, dict[str, Any]]]:
        """(target, details) of this person's entries."""
        with self.service.database.transaction() as session:
            query = select(AuditEntry).where(col(AuditEntry.staff_id) == self.staff_id)
            rows = session.scalars(query.where(col(AuditEntry.action) == action).order_by(col(AuditEntry.id)))
            return [(row.target, row.details) for row in rows]


def new_browser(service: FakeService, *, login: bool = True, address: str = "192.0.2.1") -> Browser:
    """Of a new member of staff; on the event loop of the application's own client."""
    email = f"{uuid.uuid4().hex}@staff.example"
    with service.database.transaction() as session:
        staff: Staff = staff_accounts.create(session, email, Passwords(CHEAP).hash(PASSWORD))
        assert staff.id is not None
    http = TestClient(service.http.app, raise_server_exceptions=False, client=(address, 50_000))
    http.portal = service.http.portal
    browser = Browser(http, service, email, staff.id)
    if login:
        assert browser.login().status_code == 303
    return browser
