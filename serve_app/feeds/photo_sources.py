"""The photo of a row: which of the three sources it is, and its bytes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from models.errors import InvalidInput, PhotoTooLarge
from models.feed import PhotoData, PhotoFile, PhotoSource, PhotoUrl

MAX_URL_CHARS = 2_000
MAX_NAME_CHARS = 1_000
_URL = re.compile(r"https?://[^\s\x00-\x20]+", re.IGNORECASE)
FindPhoto = Callable[[str], PhotoFile]


def photo_url(text: str) -> PhotoUrl:
    """Raises InvalidInput."""
    if not _URL.fullmatch(text) or len(text) > MAX_URL_CHARS:
        raise InvalidInput(
            f"{text[:80]!r} is no address of a photo: it begins with https:// and has up to "
            f"{MAX_URL_CHARS} characters, without spaces."
        )
    return PhotoUrl(text)


def photo_source(text: str, find: FindPhoto | None) -> PhotoSource:
    """A URL, a ``data:`` URI, a name in the ZIP or, outside of one, base64. Raises InvalidInput."""
    if text[:8].lower().startswith(("http://", "https://")):
        return photo_url(text)
    if text.startswith("data:"):
        return PhotoData(text)
    if find is not None:
        return find(text)
    if len(text) <= MAX_NAME_CHARS and "." in text:
        raise InvalidInput(
            f"{text[:80]!r} is the name of a file. Send the feed and its photos together as a ZIP, "
            "or give the photo's URL."
        )
    return PhotoData(text)


def decoded_photo(photo: PhotoData, max_bytes: int) -> bytes:
    """The photo's bytes; a ``data:`` URI is fine. Raises InvalidInput, PhotoTooLarge."""
    encoded = photo.base64.partition(",")[2] if photo.base64.startswith("data:") else photo.base64
    if len(encoded) > max_bytes * 3 // 2:
        raise PhotoTooLarge(f"The photo has more than {max_bytes} bytes. Send a smaller one.")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(
            "The photo is not valid base64. Encode the file's bytes, without changes."
        ) from None
