"""JSON as one document: an array of records, or an object that holds it, read record by record."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

from models.errors import FeedUnreadable
from models.feed import BrokenRow, FeedRow
from serve_app.feeds.formats import ARRAYS
from serve_app.feeds.json_rows import Records, has_many_values
from serve_app.feeds.limits import LONG_CHARS, MAX_MARKS, FeedLimits
from serve_app.feeds.photo_sources import FindPhoto
from serve_app.feeds.text import PEEK_BYTES, opened_text, undecodable

_NO_ARRAY = (
    'The JSON holds no array of records. Send [{"sku": …, "name": …}, …], or {"items": […]}, or JSONL.'
)
_SPACE = re.compile(r"[ \t\r\n]*")


def read_json(
    source: BinaryIO, limits: FeedLimits, find_photo: FindPhoto | None = None
) -> Iterator[FeedRow | BrokenRow]:
    """A row for each record; its line is its number, from 1. Raises FeedUnreadable."""
    records = Records(find_photo)
    with opened_text(source) as text:
        document = _Document(source, text, limits)
        for number, record in enumerate(_records(document), start=1):
            yield records.row(number, record)


def _records(document: _Document) -> Iterator[Any]:
    """The elements of the array, wherever it is."""
    wrapped = document.next_char() == "{"
    if not wrapped:
        yield from _elements(document)
    elif not (yield from _wrapped(document)):
        raise FeedUnreadable(_NO_ARRAY)
    if document.next_char():
        raise document.unreadable("something follows after the end of the JSON")


def _wrapped(document: _Document) -> Generator[Any, None, bool]:
    """The array of an object's ``items`` or ``products``; returns whether there was one."""
    found = False
    document.expect("{")
    while document.next_char() != "}":
        key = document.value()
        document.expect(":")
        if key in ARRAYS and document.next_char() == "[" and not found:
            found = True
            yield from _elements(document)
        else:
            document.value()
        if document.next_char() != "}":
            document.expect(",")
    document.expect("}")
    return found


def _elements(document: _Document) -> Iterator[Any]:
    if document.next_char() != "[":
        raise FeedUnreadable(_NO_ARRAY)
    document.expect("[")
    if document.next_char() == "]":
        document.expect("]")
        return
    while True:
        yield document.value()
        if document.next_char() == "]":
            document.expect("]")
            return
        document.expect(",")


class _Document:
    """A text that is read as far as its next value needs."""

    def __init__(self, source: BinaryIO, text: io.TextIOWrapper, limits: FeedLimits) -> None:
        self._source = source
        self._text = text
        self._limit = limits.max_record_chars
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._lines_before = 0
        self._column_before = 0
        self._ended = False

    def next_char(self) -> str:
        """The next character that is no white space, which comes next; "" at the end."""
        while True:
            space = _SPACE.match(self._buffer, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._buffer) or self._ended:
                return self._buffer[self._at : self._at + 1]
            self._read_on()

    def expect(self, character: str) -> None:
        """Step over one character. Raises FeedUnreadable where another comes next."""
        found = self.next_char()
        if found != character:
            raise self.unreadable(f"{character!r} is missing" + (f" before {found!r}" if found else ""))
        self._at += 1

    def value(self) -> Any:
        """The value that comes next. Raises FeedUnreadable."""
        self.next_char()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise self.unreadable("the record is nested too deeply") from None
            except json.JSONDecodeError as error:
                problem, place = error.msg[:1].lower() + error.msg[1:], error.pos - self._at
            except ValueError:
                problem, place = "a number is too long", 0
            else:
                if end < len(self._buffer) or self._ended:  # a number at the end of what is read may go on
                    self._at = end
                    return value
                problem, place = "a value is not complete", 0
            if len(self._buffer) - self._at > self._limit:
                raise self.unreadable(f"a record ends within no {self._limit} characters, or: {problem}")
            if self._ended:
                raise self.unreadable(problem, place)
            if len(self._buffer) - self._at > LONG_CHARS and has_many_values(self._buffer, self._at):
                raise self.unreadable(f"a record has more than {MAX_MARKS} values, or: {problem}", place)
            self._read_on()

    def unreadable(self, problem: str, place: int = 0) -> FeedUnreadable:
        """The error that says where: ``place`` characters from here."""
        at = self._at + place
        line = self._lines_before + self._buffer.count("\n", 0, at) + 1
        newline = self._buffer.rfind("\n", 0, at)
        column = at - newline + (self._column_before if newline < 0 else 0)
        if self._ended and not self._buffer[at:].strip():
            return FeedUnreadable(
                f"The JSON breaks off on line {line}: the file is not complete. Send it again."
            )
        return FeedUnreadable(f"The JSON cannot be read on line {line}, character {column}: {problem}.")

    def _read_on(self) -> None:
        """Drop what is done with and read as much again as is left."""
        newline = self._buffer.rfind("\n", 0, self._at)
        self._lines_before += self._buffer.count("\n", 0, self._at)
        self._column_before = self._at - newline - 1 + (self._column_before if newline < 0 else 0)
        rest = self._buffer[self._at :]
        try:
            more = self._text.read(max(PEEK_BYTES, len(rest)))
        except UnicodeError:
            raise undecodable(self._source, self._text.encoding) from None
        self._buffer, self._at = rest + more, 0
        self._ended = not more
