"""The broken rows of one import or of several parts, in one CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from models.errors import InvalidInput
from scripts.console import log


class BrokenRowsFile:
    """Takes the CSV of each part; the header is that of the first one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_empty = True

    def add(self, chunks: Iterable[bytes]) -> None:
        self._file.writelines(chunks if self.is_empty else _without_header(chunks))
        self.is_empty = False


@contextmanager
def broken_rows_file(path: Path | None) -> Iterator[BrokenRowsFile | None]:
    """None without a path. A file of that name is replaced at the end, by broken rows only: it may be the
    very feed that is imported. Raises InvalidInput at once where it cannot be written.
    """
    if path is None:
        yield None
        return
    part = path.with_name(f"{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a directory")
        file = part.open("wb")
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written ({error.strerror}). Give --errors another.") from None
    try:
        with file:
            rows = BrokenRowsFile(file)
            yield rows
    finally:
        if rows.is_empty:
            part.unlink()
        else:
            part.replace(path)
            log.print(
                f"The broken rows are in {path}: correct them, and import it with the photos it names.",
                markup=False,
            )


def _without_header(chunks: Iterable[bytes]) -> Iterator[bytes]:
    head: bytes | None = b""
    for chunk in chunks:
        if head is None:
            yield chunk
        elif b"\n" in (head := head + chunk):
            yield head.partition(b"\n")[2]
            head = None
