"""The connection to PostgreSQL: one ``Database`` per process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from models.errors import ConfigurationError, DependencyTimeout, DependencyUnavailable

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 10
QUERY_CANCELED = "57014"


class Database:
    """A bounded pool of connections, with the threads that block on them.

    Build it inside the process that uses it: it does not survive pickling or forking.
    """

    def __init__(self, url: str | URL, *, connections: int = 8) -> None:
        self._engine = connect(url, connections=connections)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="database")

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
    return create_engine(
        address,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000} -c timezone=UTC",
            "application_name": "fashion-recommender",
        },
    )


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


def _pgcode(error: DBAPIError) -> str | None:
    return getattr(error.orig, "pgcode", None)
