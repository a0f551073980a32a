"""What is sent: a feed file as it is, or a directory of photos as a ZIP that is made while it is sent."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from models.errors import InvalidInput
from serve_app.feeds.formats import SUFFIXES

CHUNK_BYTES = 2**20
PART_BYTES = 2**30
PART_PHOTOS = 50_000
FEED_SUFFIXES = SUFFIXES.keys() - {".zip", ".txt"}
PHOTO_SUFFIXES = {
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"),
}
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".zip": "application/zip",
}


@dataclass(frozen=True)
class FeedSource:
    """``files``: what is packed as a ZIP, by its name there; none: ``path`` is sent as it is. ``part`` of a
    directory that goes in several, from 1.
    """

    path: Path
    media_type: str
    files: tuple[tuple[str, Path], ...] = ()
    part: int = 1

    @property
    def has_feed(self) -> bool:
        """Whether the directory has a feed that names its photos."""
        return any(path.suffix.lower() in FEED_SUFFIXES for _, path in self.files)

    @property
    def size_bytes(self) -> int:
        """Of the file, or of the photos: the ZIP is a little longer."""
        paths = [path for _, path in self.files] or [self.path]
        return sum(path.stat().st_size for path in paths)

    def chunks(self) -> Iterator[bytes]:
        """The bytes, the same ones each time; in bounded memory."""
        if self.files:
            yield from _zip_chunks(self.files)
            return
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def feed_source(path: Path) -> FeedSource:
    """A feed file, or a directory: all photos below it, and the feed that is with them, if any.

    Raises InvalidInput where there is nothing to send.
    """
    if path.is_dir():
        return FeedSource(path, MEDIA_TYPES[".zip"], tuple(_files_of(path)))
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist. Give a feed file, or a directory of photos.")
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise InvalidInput(f"{path} is no feed by its name. Name it {', '.join(MEDIA_TYPES)}.")
    if not path.stat().st_size:
        raise InvalidInput(f"{path} is empty.")
    return FeedSource(path, media_type)


def parts_of(source: FeedSource, max_bytes: int = PART_BYTES) -> list[FeedSource]:
    """Photos alone in parts of at most that size, the same ones each time; anything else is one part."""
    if not source.files or source.has_feed:
        return [source]
    parts, size_bytes = [list[tuple[str, Path]]()], 0
    for name, path in source.files:
        photo_bytes = path.stat().st_size
        if parts[-1] and (size_bytes + photo_bytes > max_bytes or len(parts[-1]) >= PART_PHOTOS):
            parts.append([])
            size_bytes = 0
        parts[-1].append((name, path))
        size_bytes += photo_bytes
    return [replace(source, files=tuple(part), part=n) for n, part in enumerate(parts, start=1)]


def _files_of(directory: Path) -> list[tuple[str, Path]]:
    """By name, so that the same directory makes the same ZIP; a feed first."""
    found = sorted(_visible(directory))
    feeds = [one for one in found if one[1].suffix.lower() in FEED_SUFFIXES]
    photos = [one for one in found if one[1].suffix.lower() in PHOTO_SUFFIXES]
    if not photos:
        raise InvalidInput(f"{directory} has no photos ({', '.join(sorted(PHOTO_SUFFIXES))}).")
    if len(feeds) > 1:
        names = ", ".join(name for name, _ in feeds[:5])
        raise InvalidInput(f"{directory} has several feeds: {names}. Leave one, or none.")
    return feeds + photos


def _visible(directory: Path) -> Iterator[tuple[str, Path]]:
    """Files below it and their names in the ZIP. Raises OSError for a folder that cannot be read."""

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(directory, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            name = path.relative_to(directory).as_posix()
            if name.encode("utf-8", "replace").decode() != name:
                raise InvalidInput(f"The name {name!r} is no UTF-8 text. Rename that file.")
            if path.is_file():
                yield name, path


class _Sink:
    """A file for ``zipfile`` that cannot be sought in: what was written is taken out in between."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._waiting.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def close(self) -> None:
        """Nothing is open."""

    def taken(self) -> bytes:
        data, self._waiting = b"".join(self._waiting), []
        return data


def _zip_chunks(files: tuple[tuple[str, Path], ...]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", strict_timestamps=False) as archive:
        for name, path in files:
            member = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            packed = path.suffix.lower() not in PHOTO_SUFFIXES
            member.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            with path.open("rb") as file, archive.open(member, "w") as target:
                while chunk := file.read(CHUNK_BYTES):
                    target.write(chunk)
                    yield sink.taken()
    yield sink.taken()
