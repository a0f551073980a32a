"""Points in time as clients write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; without a zone it is meant so. Raises ValueError before year 1, after 9999.

    PostgreSQL knows no offset of 16 hours or more, which RFC 3339 allows.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time of the years 1 to 9999, in UTC") from None


Moment = Annotated[datetime, AfterValidator(in_utc)]
