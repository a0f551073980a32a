"""The SQL that the code under test sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from db.session import Database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent through it meanwhile."""
    sent: list[str] = []
    with database.transaction() as session:
        engine = session.get_bind()

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
