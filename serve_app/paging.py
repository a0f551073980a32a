"""Opaque cursors, so that clients do not build on what is inside."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from db.prompts import Place
from models.errors import InvalidInput

_ID = re.compile(r"i([0-9]{1,10})", re.ASCII)
_PLACE = re.compile(r"p([0-9]{1,18})\.([0-9a-f]{32})", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_cursor(last_id: int) -> str:
    return _encoded(f"i{last_id}")


def decode_cursor(cursor: str | None) -> int | None:
    """The id after which the page starts; raises InvalidInput for a text that no page returned."""
    if cursor is None:
        return None
    match = _ID.fullmatch(_decoded(cursor))
    if match is None or int(match[1]) >= 2**31:
        raise _unknown()
    return int(match[1])


def encode_place(place: Place) -> str:
    microseconds = (place.created_at - _EPOCH) // timedelta(microseconds=1)
    return _encoded(f"p{microseconds}.{place.prompt_id.hex}")


def decode_place(cursor: str | None) -> Place | None:
    """The prompt after which the page starts; raises InvalidInput as ``decode_cursor`` does."""
    if cursor is None:
        return None
    match = _PLACE.fullmatch(_decoded(cursor))
    if match is None:
        raise _unknown()
    try:
        created_at = _EPOCH + timedelta(microseconds=int(match[1]))
    except OverflowError:
        raise _unknown() from None
    return Place(created_at, UUID(match[2]))


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        return ""


def _unknown() -> InvalidInput:
    message = "The cursor is not one that this service returned. Start without a cursor."
    return InvalidInput(message).at("/cursor")
