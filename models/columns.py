"""Column kinds that several tables share."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import Column, DateTime, Enum, func


def timestamp(*, index: bool = False) -> Column[Any]:
    """A nullable point in time, with time zone."""
    return Column(DateTime(timezone=True), nullable=True, index=index)


def created_at_column() -> Column[Any]:
    """Set by the database when the row is inserted."""
    return Column(DateTime(timezone=True), nullable=False, server_default=func.now())


def text_enum(kind: type[StrEnum], *, index: bool = False, nullable: bool = False) -> Column[Any]:
    """An enum kept as its value in a VARCHAR, so that a new value needs no migration."""
    return Column(
        Enum(kind, native_enum=False, length=16, values_callable=lambda e: [m.value for m in e]),
        nullable=nullable,
        index=index,
    )
