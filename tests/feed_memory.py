"""How much memory the reading of a feed takes: ``python -m tests.feed_memory NAME LINES...``.

A process of its own, since what other threads of a test run allocate would be counted too.
"""

from __future__ import annotations

import gc
import io
import sys
import tracemalloc
from collections.abc import Iterable

from models.errors import FeedUnreadable
from models.feed import FeedFormat
from serve_app.feeds.read_feed import read_feed

# A beginning, the line that follows it again and again, and the format. The JSON has no end.
FEEDS = {
    "csv": (b"sku,name,attributes.a\n", b"sku,A name that is long enough,red\n", FeedFormat.CSV),
    "jsonl": (b"", b'{"sku": "s", "name": "A name that is long enough"}\n', FeedFormat.JSONL),
    "json": (
        b'[{"sku": "s", "name": "A"}',
        b', {"sku": "s", "name": "A name that is long enough"}',
        FeedFormat.JSON,
    ),
    "shopify": (b"Handle,Title,Variant SKU\n", b"a,A name that is long enough,\n", FeedFormat.CSV),
}


class Endless(io.RawIOBase):
    """A feed that is never in memory as a whole: a beginning, then one line so many times."""

    def __init__(self, start: bytes, line: bytes, lines: int) -> None:
        self._start, self._line = start, line
        self._size, self._at = len(start) + len(line) * lines, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = {0: 0, 1: self._at, 2: self._size}[whence] + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = min(self._size, self._at + (size if size >= 0 else self._size))
        inside, first = max(0, self._at - len(self._start)), self._start[self._at : end]
        whole = (inside % len(self._line) + end - self._at) // len(self._line) + 1
        content = first + (self._line * whole)[inside % len(self._line) :]
        content, self._at = content[: end - self._at], end
        return content

    read1 = read


def peak_bytes(name: str, lines: int) -> int:
    """What reading so many lines takes at most; garbage in cycles is collected as it goes."""
    start, line, stated = FEEDS[name]
    rows: Iterable[object] = read_feed(Endless(start, line, lines), stated)  # type: ignore[arg-type]
    gc.collect()
    tracemalloc.start()
    try:
        for number, _ in enumerate(rows):
            if number % 500 == 0:
                gc.collect()
    except FeedUnreadable:
        if stated is not FeedFormat.JSON:
            raise
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


if __name__ == "__main__":
    for count in sys.argv[2:]:
        print(peak_bytes(sys.argv[1], int(count)))  # noqa: T201
