"""``python -m scripts.create_staff`` against a real database."""

from __future__ import annotations

import getpass
import io
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

from db.session import Database
from models.staff import AuditEntry, Staff, StaffSession
from scripts import create_staff
from serve_app.passwords import Passwords
from tests.stack import PROJECT, environment

PASSWORD = "correct horse battery"


@pytest.fixture
def email() -> str:
    return f"{uuid.uuid4().hex}@staff.example"


@pytest.fixture
def here(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without .env, and the test's database in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", postgres_url)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["create_staff", *arguments])
    monkeypatch.setattr(sys, "stdin", stdin)
    return create_staff.main()


def stored(database: Database, email: str) -> Staff | None:
    with database.transaction() as session:
        return session.scalars(select(Staff).where(col(Staff.email) == email)).one_or_none()


def test_the_command_makes_staff(database: Database, postgres_url: str, email: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.create_staff", "--email", email.upper(), "--password-stdin"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(PROJECT), DATABASE_URL=postgres_url),
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    staff = stored(database, email)
    assert staff is not None
    assert staff.password_hash.startswith("$argon2id$")
    assert Passwords()._matches(PASSWORD, staff.password_hash)


@pytest.mark.usefixtures("here")
def test_an_account_through_its_life(
    database: Database, email: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([PASSWORD, PASSWORD, PASSWORD, "another horse battery"])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(answers))  # noqa: ARG005
    assert run(monkeypatch, Terminal(), "--email", email) == 0
    assert run(monkeypatch, Terminal(), "--email", email) == 2
    assert "--reset-password" in capsys.readouterr().err
    assert run(monkeypatch, Terminal(), "--email", email, "--reset-password") == 2
    assert "differ" in capsys.readouterr().err
    staff = stored(database, email)
    assert staff is not None
    assert staff.id is not None
    with database.transaction() as session:
        session.add(StaffSession(staff_id=staff.id, token_hash=uuid.uuid4().bytes, expires_at="infinity"))
    new = "another horse battery\n"
    reset = ("--email", email, "--reset-password", "--password-stdin")
    assert run(monkeypatch, io.StringIO(new), *reset) == 0
    assert "Sessions ended: 1" in capsys.readouterr().err
    assert run(monkeypatch, io.StringIO(), "--email", email, "--deactivate") == 0
    deactivated = stored(database, email)
    assert deactivated is not None
    assert not deactivated.active
    assert Passwords()._matches("another horse battery", deactivated.password_hash)
    with database.transaction() as session:
        query = select(col(AuditEntry.action)).where(col(AuditEntry.target) == email)
        actions = list(session.scalars(query.order_by(col(AuditEntry.id))))
    assert actions == ["staff.create", "staff.set_password", "staff.deactivate"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("email", "password", "options", "words"),
    [
        ("short@staff.example", "x" * 11, (), "11 characters"),
        ("long@staff.example", "x" * 1001, (), "1001 characters"),
        ("same.name@staff.example", "Same.Name@staff.example", (), "is the e-mail address"),
        ("no address", PASSWORD, (), "not an e-mail address"),
        ("nobody@staff.example", PASSWORD, ("--reset-password",), "no member of staff"),
        ("nobody@staff.example", "", ("--deactivate",), "no member of staff"),
    ],
)
def test_a_mistake_changes_nothing(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    email: str,
    password: str,
    options: tuple[str, ...],
    words: str,
) -> None:
    arguments = ("--email", email, "--password-stdin", *options)
    assert run(monkeypatch, io.StringIO(password + "\n"), *arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""
    assert stored(database, email) is None


@pytest.mark.usefixtures("here")
def test_the_password_is_never_an_argument_nor_asked_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], email: str
) -> None:
    assert run(monkeypatch, io.StringIO(PASSWORD), "--email", email) == 2
    assert "--password-stdin" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(monkeypatch, io.StringIO(), "--email", email, "--password", PASSWORD)
