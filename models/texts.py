"""Text from outside that PostgreSQL is to store or compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def storable_text(text: str) -> str:
    """The text, if PostgreSQL can store it. Raises ValueError."""
    if "\x00" in text:
        raise ValueError("the text contains a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text is not valid Unicode (a lone surrogate)") from None
    return text


def texts_in(value: Any) -> Iterator[str]:
    """Every text in nested objects and lists, the objects' keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts_in(key)
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
