"""Opaque cursors, so that clients do not build on what is inside."""

from __future__ import annotations

import base64
import binascii

from models.errors import InvalidInput


def encode_cursor(last_id: int) -> str:
    return base64.urlsafe_b64encode(f"i{last_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
    """The id after which the page starts; raises InvalidInput for a text that no page returned."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        text = ""
    if not (text.startswith("i") and text[1:].isascii() and text[1:].isdigit() and int(text[1:]) < 2**31):
        raise InvalidInput("The cursor is not one that this service returned. Start without a cursor.").at(
            "/cursor"
        )
    return int(text[1:])
