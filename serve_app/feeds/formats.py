"""What a file is: its first bytes decide, then its name and media type."""

from __future__ import annotations

import codecs
import json
import re
from typing import BinaryIO

from models.errors import FeedUnreadable
from models.feed import FeedFormat
from serve_app.feeds.text import SAVE_AS, encoding_of, peek

SUFFIXES = {
    ".csv": FeedFormat.CSV,
    ".tsv": FeedFormat.CSV,
    ".txt": FeedFormat.CSV,
    ".json": FeedFormat.JSON,
    ".jsonl": FeedFormat.JSONL,
    ".ndjson": FeedFormat.JSONL,
    ".zip": FeedFormat.ZIP,
}
MEDIA_TYPES = {
    "application/json": FeedFormat.JSON,
    "application/jsonl": FeedFormat.JSONL,
    "application/x-ndjson": FeedFormat.JSONL,
    "application/x-jsonlines": FeedFormat.JSONL,
}
ARRAYS = ("items", "products")
_WRAPPER = re.compile(rf'\{{\s*"({"|".join(ARRAYS)})"\s*:\s*\[')
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_OTHERS = {
    b"\x1f\x8b": "It is packed by gzip. Unpack it and send what was inside.",
    b"\xd0\xcf\x11\xe0": f"It is an Excel workbook. {SAVE_AS}",
    b"Rar!": "It is a RAR archive. Pack the feed and its photos as a ZIP.",
    b"7z\xbc\xaf": "It is a 7z archive. Pack the feed and its photos as a ZIP.",
    b"%PDF": "It is a PDF. Send CSV, JSON, JSONL or a ZIP.",
    b"\xff\xd8\xff": "It is a single photo. Pack the photos as a ZIP, or upload it alone.",
    b"\x89PNG": "It is a single photo. Pack the photos as a ZIP, or upload it alone.",
}


def format_of(source: BinaryIO, stated: FeedFormat, filename: str = "", media_type: str = "") -> FeedFormat:
    """The format, where ``stated`` leaves it open. Raises FeedUnreadable where it is no feed at all."""
    start = peek(source)
    if not start:
        raise FeedUnreadable("The file is empty.")
    for mark, advice in _OTHERS.items():
        if start.startswith(mark):
            raise FeedUnreadable(f"The file is no feed. {advice}")
    if start.startswith(_ZIP_STARTS):
        if stated not in (FeedFormat.AUTO, FeedFormat.ZIP):
            raise FeedUnreadable(f"The file is a ZIP, not {stated.value}. Send it as zip, or as auto.")
        return FeedFormat.ZIP
    return _of_text(start, filename, media_type) if stated is FeedFormat.AUTO else stated


def named_format(filename: str) -> FeedFormat | None:
    """By the end of a file's name."""
    dot = filename.rfind(".")
    return SUFFIXES.get(filename[dot:].lower()) if dot >= 0 else None


def _of_text(start: bytes, filename: str, media_type: str) -> FeedFormat:
    text = codecs.getincrementaldecoder(encoding_of(start))("replace").decode(start).lstrip()
    if text.startswith("["):
        return FeedFormat.JSON
    if text.startswith("{"):
        hinted = named_format(filename) or MEDIA_TYPES.get(media_type.partition(";")[0].strip().lower())
        return FeedFormat.JSONL if hinted is FeedFormat.JSONL else _of_objects(text)
    if text.startswith("<"):
        raise FeedUnreadable(
            "The file is XML or HTML. Send CSV, JSON, JSONL or a ZIP; Google Merchant feeds as delimited "
            "text."
        )
    return FeedFormat.CSV


def _of_objects(text: str) -> FeedFormat:
    """JSONL where each line is an object of its own, JSON where one wraps all the others."""
    line, newline, further = text.partition("\n")
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        lines = further.lstrip().startswith("{") if newline else not _WRAPPER.match(text)
        return FeedFormat.JSONL if lines else FeedFormat.JSON
    wraps = isinstance(first, dict) and any(isinstance(first.get(key), list) for key in ARRAYS)
    return FeedFormat.JSON if wraps else FeedFormat.JSONL
