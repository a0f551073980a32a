"""Connections that die while nobody uses them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.session import PING_AFTER_S, Database
from models.errors import DependencyUnavailable


@pytest.fixture
def one_connection(postgres_url: Any) -> Iterator[Database]:
    database = Database(postgres_url, connections=1)
    yield database
    database.close()


def backend(session: Session) -> int:
    return int(session.scalar(text("SELECT pg_backend_pid()")) or 0)


def read(database: Database) -> int:
    return asyncio.run(database.read(backend))


def end(other: Database, pid: int) -> None:
    with other.transaction() as session:
        assert session.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def test_reads_and_transactions_share_the_pool(one_connection: Database) -> None:
    first = read(one_connection)
    with one_connection.transaction() as session:
        assert backend(session) == first
        session.execute(text("CREATE TEMP TABLE kept (one int)"))
    assert read(one_connection) == first


def test_a_read_is_no_transaction(one_connection: Database) -> None:
    def fresh_clock(session: Session) -> bool:
        session.execute(text("SELECT pg_sleep(0.05)"))
        # Inside a transaction now() would be the time of its first statement.
        return bool(session.scalar(text("SELECT now() = statement_timestamp()")))

    assert asyncio.run(one_connection.read(fresh_clock))


def test_a_connection_that_died_in_a_pause_is_replaced_unnoticed(
    one_connection: Database, database: Database
) -> None:
    dead = read(one_connection)
    end(database, dead)
    time.sleep(PING_AFTER_S + 0.1)
    assert read(one_connection) not in (0, dead)


def test_one_that_died_in_use_is_an_outage_once(one_connection: Database, database: Database) -> None:
    dead = read(one_connection)
    end(database, dead)
    with pytest.raises(DependencyUnavailable):
        read(one_connection)
    assert read(one_connection) not in (0, dead)
