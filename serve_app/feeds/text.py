"""Bytes of a feed as lines of text, with the place of what is wrong in them."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from models.errors import FeedUnreadable
from serve_app.feeds.limits import LONG_CHARS, MAX_MARKS, FeedLimits

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
PEEK_BYTES = 64 * 1024
SAVE_AS = 'Save it as UTF-8 (in Excel: "CSV UTF-8") and send it again.'


def peek(source: BinaryIO) -> bytes:
    """The first bytes; the file is at its beginning afterwards."""
    source.seek(0)
    start = source.read(PEEK_BYTES)
    source.seek(0)
    return start


def encoding_of(start: bytes) -> str:
    """By the byte order mark; without one it is UTF-8. Raises FeedUnreadable."""
    for mark, encoding in _BOMS.items():
        if start.startswith(mark):
            return encoding
    if start.count(0) * 4 > len(start):
        place = start.index(b"\x00")
        raise FeedUnreadable(
            f"The file has a zero byte at position {place}: it is no text in UTF-8, or it is UTF-16 without "
            f"the mark that says so. {SAVE_AS}"
        )
    return "utf-8"


@contextmanager
def opened_text(source: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """The file from its beginning, in its encoding, with its own ends of lines; it stays open."""
    encoding = encoding_of(peek(source))
    text = io.TextIOWrapper(source, encoding=encoding, newline="")
    try:
        yield text
    finally:
        if not source.closed:  # by its owner, before these rows were read to their end
            text.detach()


class Lines:
    """The physical lines of a text, counted as an editor does, and those of the record that is being read."""

    def __init__(self, source: BinaryIO, text: io.TextIOWrapper, limits: FeedLimits) -> None:
        self.count = 0
        self.ended = False
        self.record: list[str] = []
        self._source = source
        self._text = text
        self._limit = limits.max_record_chars
        self._size = 0
        self._delimiter = ""
        self._cells = 0

    def split_at(self, delimiter: str) -> None:
        """From now on, refuse a record that has too many cells."""
        self._delimiter = delimiter

    def begin(self) -> int:
        """Forget the last record; returns the line on which the next one begins, from 1."""
        self.record.clear()
        self._size = self._cells = 0
        return self.count + 1

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        try:
            line = self._text.readline(self._limit + 1)
        except UnicodeError:
            raise undecodable(self._source, self._text.encoding) from None
        if not line:
            self.ended = True
            raise StopIteration
        self._size += len(line)
        if self._size > self._limit:
            raise FeedUnreadable(
                f"The row that begins on line {self.count + 1 - len(self.record)} is longer than "
                f"{self._limit} characters. Is a quotation mark never closed?"
            )
        if self._delimiter and self._size > LONG_CHARS:
            self._cells += line.count(self._delimiter)
            if self._cells > MAX_MARKS:
                raise FeedUnreadable(f"The row on line {self.count + 1} has more than {MAX_MARKS} cells.")
        self.count += 1
        self.record.append(line)
        return line


def undecodable(source: BinaryIO, encoding: str) -> FeedUnreadable:
    """The error that names the first byte that is none of the encoding's."""
    # The mark at the beginning is UTF-8 too; the decoder that skips it counts from behind it.
    decoder = codecs.getincrementaldecoder("utf-8" if encoding == "utf-8-sig" else encoding)()
    source.seek(0)
    read_bytes, newlines = 0, 0
    while True:
        chunk = source.read(PEEK_BYTES)
        kept = len(decoder.getstate()[0])
        try:
            newlines += decoder.decode(chunk, final=not chunk).count("\n")
        except UnicodeDecodeError as error:
            at = read_bytes - kept + error.start
            good = error.object[: error.start].decode(error.encoding, "ignore")
            return FeedUnreadable(
                f"The byte at position {at} (line {newlines + good.count(chr(10)) + 1}) is not "
                f"{error.encoding.upper()}. {SAVE_AS}"
            )
        if not chunk:
            return FeedUnreadable(f"The file is not text in {encoding.upper()}. {SAVE_AS}")
        read_bytes += len(chunk)
