"""Make a member of staff, give one a new password, or deactivate one.

    python -m scripts.create_staff --email me@example.com --data-dir data

Asks for the password twice, or reads it from standard input with --password-stdin. Works while the service
runs and while it does not. Without --data-dir the environment names the database (DATABASE_URL or DB_*).
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.orm import Session

from db import staff as people
from db.session import Database
from models.errors import Conflict, InvalidInput
from scripts.command import run
from scripts.named_database import add_data_dir, opened_database
from serve_app import staff_accounts
from serve_app.passwords import Passwords, check_new_password
from serve_app.staff_accounts import checked_email

T = TypeVar("T")


def main() -> int:
    return run(_parser(), _change)


def _change(arguments: argparse.Namespace) -> int:
    with opened_database(arguments.data_dir) as database:
        done = _carry_out(database, arguments)
    sys.stderr.write(done + "\n")
    return 0


def _carry_out(database: Database, arguments: argparse.Namespace) -> str:
    """Returns what was done, in a sentence."""
    email = checked_email(arguments.email)
    if arguments.deactivate:
        ended = _in_transaction(database, lambda session: staff_accounts.deactivate(session, None, email))
        return f"{email} is deactivated. Sessions ended: {ended}."
    exists = _in_transaction(database, lambda session: people.find(session, email) is not None)
    if exists and not arguments.reset_password:
        raise Conflict(
            f"A member of staff with the e-mail address {email} exists already. To set a new password, "
            "give --reset-password."
        )
    password = _password(arguments.password_stdin)
    check_new_password(password, email)
    hashed = Passwords().hash(password)
    if arguments.reset_password:
        ended = _in_transaction(database, lambda session: staff_accounts.set_password(session, email, hashed))
        return f"{email} has a new password. Sessions ended: {ended}."
    _in_transaction(database, lambda session: staff_accounts.create(session, email, hashed).id)
    return f"{email} is staff and can log in at /admin."


def _in_transaction(database: Database, work: Callable[[Session], T]) -> T:
    with database.transaction() as session:
        return work(session)


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidInput("There is no terminal to ask for the password. Give it with --password-stdin.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidInput("The two passwords differ. Nothing was changed.")
    return password


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.create_staff", description=summary)
    parser.add_argument("--email", required=True, help="the person's e-mail address, unique")
    add_data_dir(parser)
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--reset-password", action="store_true", help="set a new password, end the sessions")
    what.add_argument("--deactivate", action="store_true", help="no more logins, end the sessions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
