"""The connection to PostgreSQL: one ``Database`` per process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Self, TypeVar

import psycopg2
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from configs.settings import Settings
from models.errors import ConfigurationError, DependencyTimeout, DependencyUnavailable

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 10
LONG_STATEMENT_TIMEOUT_S = 80  # below the time that a request may take
PING_AFTER_S = 1.0
QUERY_CANCELED = "57014"


class Database:
    """A bounded pool of connections, with the threads that block on them.

    Build it inside the process that uses it: it does not survive pickling or forking.
    """

    def __init__(self, url: str | URL, *, connections: int = 8) -> None:
        self._engine = connect(url, connections=connections)
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="database")

    @classmethod
    def configured(cls, *, connections: int = 8) -> Self:
        """The one that the environment names. Raises ConfigurationError."""
        url = Settings().sqlalchemy_url()
        if url is None:
            raise ConfigurationError(
                "No database is configured. Set DATABASE_URL, or DB_NAME, DB_USER and DB_PASSWORD."
            )
        return cls(url, connections=connections)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back by an error.

        Raises ``DependencyUnavailable`` or ``DependencyTimeout`` where PostgreSQL does not answer.
        """
        with translated(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def run(self, work: Callable[[Session], T]) -> T:
        """``work`` in a transaction of its own, in a thread, so that the event loop goes on."""

        def in_transaction() -> T:
            with self.transaction() as session:
                return work(session)

        return await asyncio.get_running_loop().run_in_executor(self._threads, in_transaction)

    async def read(self, query: Callable[[Session], T]) -> T:
        """One query, likewise; without a transaction around it, which would double its round trips."""

        def in_autocommit() -> T:
            with translated(), Session(self._reading, expire_on_commit=False) as session:
                return query(session)

        return await asyncio.get_running_loop().run_in_executor(self._threads, in_autocommit)

    async def fetch(self, query: Callable[[Connection], T]) -> T:
        """The same for what needs no session, which takes as long as a short answer does."""

        def in_autocommit() -> T:
            with translated(), self._reading.connect() as connection:
                return query(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, in_autocommit)

    def session_maker(self) -> sessionmaker[Session]:
        """For libraries that open their own sessions; each statement is a transaction of its own."""
        return sessionmaker(self._reading, expire_on_commit=False)

    def ping(self) -> None:
        """Raises ``DependencyUnavailable`` where PostgreSQL does not answer."""
        with self.transaction() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        """Wait for the running transactions, then close every connection."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()


def connect(url: str | URL, *, connections: int = 8) -> Engine:
    """An engine whose connections and statements give up after 10 s. Raises ConfigurationError."""
    try:
        address = make_url(url)
        address.get_dialect()
    except (ArgumentError, NoSuchModuleError):
        raise ConfigurationError(
            "DATABASE_URL is not the address of a PostgreSQL. Write postgresql://USER:PASSWORD@HOST:PORT/NAME."
        ) from None
    engine = create_engine(
        address,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000} -c timezone=UTC",
            "application_name": "fashion-recommender",
        },
    )
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", _ping_after_a_pause)
    return engine


def _note_return(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["returned_at"] = time.monotonic()


def _ping_after_a_pause(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
    """What SQLAlchemy's ``pool_pre_ping`` does, but not for a connection that worked a moment ago.

    A dead one is replaced without the caller's notice.
    """
    if time.monotonic() - record.info.get("returned_at", time.monotonic()) < PING_AFTER_S:
        return
    try:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise DisconnectionError from error


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors that mean "no answer" as AppErrors, without its words."""
    try:
        yield
    except PoolTimeoutError as error:
        raise DependencyTimeout("The database is busy: no connection became free in time.") from error
    except (OperationalError, InterfaceError) as error:
        if _pgcode(error) == QUERY_CANCELED:
            raise DependencyTimeout("The database took too long to answer.") from error
        raise DependencyUnavailable("The database does not answer.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DependencyUnavailable("The connection to the database was lost.") from error
        raise


def allow_long_statements(session: Session) -> None:
    """For the rest of this transaction: its statements touch many rows."""
    session.execute(text(f"SET LOCAL statement_timeout = '{LONG_STATEMENT_TIMEOUT_S}s'"))


def violated_constraint(error: IntegrityError) -> str | None:
    """The name of the constraint or unique index that a statement violated."""
    return getattr(getattr(error.orig, "diag", None), "constraint_name", None)


def _pgcode(error: DBAPIError) -> str | None:
    return getattr(error.orig, "pgcode", None)
