"""Staff log in, stay logged in as long as they should, and no longer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, update
from sqlmodel import col

from configs.serving import LimitArgs
from models.staff import AuditEntry, Staff, StaffSession
from serve_app import staff_accounts
from serve_app.authenticate import staff_token_hash
from serve_app.passwords import Passwords
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import CHEAP, FakeService

LOGIN, LOGOUT, ME = "/api/staff/login/", "/api/staff/logout/", "/api/staff/me/"
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    """A member of staff at the in-process API."""

    service: FakeService
    email: str

    def login(self, password: str = PASSWORD, email: str | None = None) -> Any:
        return self.service.http.post(LOGIN, json={"email": email or self.email, "password": password})

    def token(self) -> str:
        answer = self.login()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def me(self, token: str) -> Any:
        return self.service.http.get(ME, headers={"Authorization": f"Bearer {token}"})

    def audited(self) -> list[str]:
        with self.service.database.transaction() as session:
            query = select(col(AuditEntry.action)).where(col(AuditEntry.target) == self.email)
            return list(session.scalars(query.order_by(col(AuditEntry.id))))


@pytest.fixture
def person(service: FakeService) -> Person:
    email = f"{uuid.uuid4().hex}@staff.example"
    with service.database.transaction() as session:
        staff_accounts.create(session, email, Passwords(CHEAP).hash(PASSWORD))
    return Person(service, email)


def test_a_login_is_a_session_until_its_logout(service: FakeService, person: Person) -> None:
    answer = person.login(email=f"  {person.email.upper()} ")
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    token = answer.json()["token"]
    assert token.startswith("st_")
    me = person.me(token).json()
    assert me["email"] == person.email
    assert me.keys() == {"id", "email", "last_login_at", "created_at"}
    other = person.token()
    bearer = {"Authorization": f"Bearer {token}"}
    assert service.http.post(LOGOUT, headers=bearer).status_code == 204
    assert_problem(person.me(token), 401, "not_authenticated")
    assert_problem(service.http.post(LOGOUT, headers=bearer), 401, "not_authenticated")
    assert person.me(other).status_code == 200
    assert person.audited() == ["staff.create", "staff.login", "staff.login", "staff.logout"]


def test_only_a_hash_of_the_token_is_stored(service: FakeService, person: Person) -> None:
    token = person.token()
    with service.database.transaction() as session:
        query = select(StaffSession).where(col(StaffSession.token_hash) == staff_token_hash(token))
        row = session.scalars(query).one()
        hours = (row.expires_at - session.scalar(select(func.now()))).total_seconds() / 3600
    assert token[3:].encode() not in row.token_hash
    assert hours == pytest.approx(12, abs=0.1)


def test_a_wrong_password_and_a_wrong_address_get_the_same_answer(
    service: FakeService, person: Person
) -> None:
    answers = [
        person.login("wrong horse battery"),
        person.login(email="nobody@staff.example"),
        person.login(email="no address"),
        person.login(email="nul\x00@staff.example"),
    ]
    for answer in answers:
        assert_problem(answer, 401, "not_authenticated")
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert person.audited() == ["staff.create", "staff.login_failed"]
    with service.database.transaction() as session:
        nobodys = select(AuditEntry).where(col(AuditEntry.action) == "staff.login_failed")
        entries = session.scalars(nobodys.where(col(AuditEntry.staff_id).is_(None))).all()
    assert len(entries) >= 3
    assert {(entry.staff_email, entry.target) for entry in entries} == {("", "")}


async def test_nobodys_password_costs_as_much_as_a_real_one() -> None:
    """The work is counted, not timed: both comparisons run argon2 with the same parameters."""
    verified: list[str] = []

    class Noting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Any:
            verified.append(str(hash).rsplit("$", 2)[0])
            return super().verify(hash, password)

    passwords = Passwords(Noting(time_cost=2, memory_cost=16, parallelism=1))
    assert not await passwords.matches("nobody's", None)
    assert await passwords.matches("somebody's", passwords.hash("somebody's"))
    assert verified[0] == verified[1]


@pytest.mark.parametrize("password", ["", "x" * 1001, 123456789012, ["a"], None])
def test_a_malformed_login_is_refused_without_repeating_the_password(person: Person, password: Any) -> None:
    answer = person.login(password)
    assert_problem(answer, 422, "invalid_input")
    assert str(password)[:10] not in answer.text or not password


def test_a_session_ends_when_its_time_is_over(service: FakeService, person: Person) -> None:
    token = person.token()
    with service.database.transaction() as session:
        query = update(StaffSession).where(col(StaffSession.token_hash) == staff_token_hash(token))
        session.execute(query.values(expires_at=func.now()))
    assert_problem(person.me(token), 401, "not_authenticated")
    person.token()
    with service.database.transaction() as session:
        query = select(StaffSession).where(col(StaffSession.token_hash) == staff_token_hash(token))
        assert session.scalars(query).all() == []


@pytest.mark.parametrize("change", ["deactivate", "set_password"])
def test_sessions_end_with_the_password_and_the_account(
    service: FakeService, person: Person, change: str
) -> None:
    token, bystander = person.token(), person.token()
    with service.database.transaction() as session:
        if change == "deactivate":
            assert staff_accounts.deactivate(session, None, person.email) == 2
        else:
            new = Passwords(CHEAP).hash("another horse battery")
            assert staff_accounts.set_password(session, person.email, new) == 2
    for ended in (token, bystander):
        assert_problem(person.me(ended), 401, "not_authenticated")
    assert_problem(person.login(), 401, "not_authenticated")
    assert person.login("another horse battery").status_code == (401 if change == "deactivate" else 200)


def test_a_password_kept_with_old_parameters_is_kept_with_new_ones(
    service: FakeService, person: Person
) -> None:
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    with service.database.transaction() as session:
        values = update(Staff).where(col(Staff.email) == person.email)
        session.execute(values.values(password_hash=Passwords(old).hash(PASSWORD)))
    person.token()
    with service.database.transaction() as session:
        stored = session.scalars(select(Staff).where(col(Staff.email) == person.email)).one().password_hash
    assert not CHEAP.check_needs_rehash(stored)
    person.token()


def test_passwords_match_however_the_keyboard_composes_them() -> None:
    passwords = Passwords(CHEAP)
    assert passwords._matches("pa\u0308ssword", passwords.hash("p\u00e4ssword"))
    assert not passwords._matches("passward", passwords.hash("p\u00e4ssword"))
    assert not passwords._matches("", "no hash at all")


def test_a_shops_key_is_no_session(service: FakeService, shop: ShopClient, person: Person) -> None:
    assert_problem(person.me(shop.key), 403, "forbidden")
    assert_problem(person.me("st_" + "x" * 43), 401, "not_authenticated")
    answer = service.http.get("/api/image-collection/", headers={"Authorization": f"Bearer {person.token()}"})
    assert_problem(answer, 401, "not_authenticated")


def test_failed_logins_are_limited_and_good_ones_are_not(
    service: FakeService, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = service.http.app
    limiter = app.state.services.limiter  # type: ignore[attr-defined]
    monkeypatch.setattr(limiter, "_args", LimitArgs(logins_per_minute=1))

    def login(password: str) -> Any:
        return service.http.post(LOGIN, json={"email": person.email, "password": password})

    for _ in range(11):
        assert login(PASSWORD).status_code == 200
    for _ in range(10):
        assert_problem(login("wrong horse battery"), 401, "not_authenticated")
    answer = login(PASSWORD)
    assert_problem(answer, 429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert person.audited().count("staff.login_failed") == 10
    # One stranger's failures leave the others' logins alone, though all come from the proxy's address.
    answer = service.http.post(LOGIN, json={"email": "other@staff.example", "password": PASSWORD})
    assert_problem(answer, 401, "not_authenticated")
