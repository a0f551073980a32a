"""The files of photos and imports, in a directory or an object store (any fsspec URL)."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from models.errors import DependencyUnavailable, InvalidInput, NotFound

KEY = re.compile(r"[A-Za-z0-9._/-]+")
UPLOADS = "uploads"
SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
}


def image_prefix(shop_id: int, image_id: int) -> str:
    """Where all files of one photo lie."""
    return f"{shop_prefix(shop_id)}/{image_id}"


def shop_prefix(shop_id: int) -> str:
    """Where all files of one shop lie."""
    return f"shops/{shop_id}"


def photo_key(shop_id: int, image_id: int, sha256: str, media_type: str) -> str:
    """A new key for one photo's file; never given twice, so that an old file can be removed at any time."""
    suffix = SUFFIXES.get(media_type, ".bin")
    return f"{image_prefix(shop_id, image_id)}/{sha256[:16]}-{uuid.uuid4().hex[:8]}{suffix}"


def imported_photo_key(shop_id: int, image_id: int, sha256: str, media_type: str, job_id: int) -> str:
    """The same for a photo that an import stores: given once to a job, and again where the job repeats it."""
    suffix = SUFFIXES.get(media_type, ".bin")
    return f"{image_prefix(shop_id, image_id)}/{sha256[:16]}-i{job_id}{suffix}"


def new_source_key(shop_id: int) -> str:
    """A key for a feed that is to be imported; never given twice. Nothing else lies in its folder."""
    return f"{shop_prefix(shop_id)}/imports/{uuid.uuid4().hex}/source"


def source_folder(source_key: str) -> str:
    """Where a feed lies alone: what goes with it."""
    return source_key.rpartition("/")[0]


class MediaStore:
    """Files by key. Keys are relative POSIX paths; anything else raises ``InvalidInput``.

    Every method raises ``DependencyUnavailable`` where the store does not answer.
    """

    def __init__(self, url: str) -> None:
        # Other processes write, too: a listing that is kept would be wrong.
        self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)

    def save(self, key: str, data: bytes) -> None:
        """Write a file whole or not at all; an existing one is replaced."""
        path = self._path(key)
        with _translated(key):
            if isinstance(self._fs, LocalFileSystem):
                _write_atomically(path, data)
            else:
                self._fs.pipe_file(path, data)

    def load(self, key: str) -> bytes:
        """The file's bytes. Raises ``NotFound``."""
        with _translated(key):
            data: bytes = self._fs.cat_file(self._path(key))
            return data

    def open(self, key: str) -> BinaryIO:
        """The file, to be read in parts and from any place; closed by the caller. Raises ``NotFound``."""
        with _translated(key):
            file: BinaryIO = self._fs.open(self._path(key), "rb")
            return file

    def begin_upload(self) -> Upload:
        """A file that comes in parts."""
        path = self._path(f"{UPLOADS}/{uuid.uuid4().hex}")
        with _translated(UPLOADS):
            return Upload(self._fs, path, self._path)

    def remove_stale_uploads(self, older_than_s: float) -> int:
        """Remove what crashed processes left of uploads that were never published; returns how many."""
        removed = 0
        with _translated(UPLOADS):
            path = self._path(UPLOADS)
            for name in self._fs.ls(path, detail=False) if self._fs.isdir(path) else []:
                if time.time() - self._fs.modified(name).timestamp() > older_than_s:
                    self._fs.rm_file(name)
                    removed += 1
        return removed

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        with _translated(key):
            return bool(self._fs.isfile(self._path(key)))

    def delete_tree(self, prefix: str) -> None:
        """Remove every file under the prefix; nothing happens where there is none."""
        path = self._path(prefix)
        with _translated(prefix):
            if self._fs.exists(path):
                self._fs.rm(path, recursive=True)

    def folders(self, prefix: str) -> list[str]:
        """Prefixes of what lies directly under this one, folders and files; empty where there is nothing."""
        path = self._path(prefix)
        with _translated(prefix):
            names = self._fs.ls(path, detail=False) if self._fs.isdir(path) else []
            return sorted(f"{prefix}/{name.rstrip('/').rsplit('/', 1)[-1]}" for name in names)

    def usage(self, prefix: str) -> tuple[int, int]:
        """Number of files under the prefix, and their bytes."""
        with _translated(prefix):
            files = self._fs.find(self._path(prefix), detail=True).values()
            return len(files), sum(int(file["size"] or 0) for file in files)

    def _path(self, key: str) -> str:
        if not KEY.fullmatch(key) or {"", ".", ".."} & set(key.split("/")):
            raise InvalidInput(f"'{key}' is not a valid file key.")
        return f"{self._root.rstrip('/')}/{key}"


class Upload:
    """A file that is written in parts and gets its key when it is published; nothing is seen of it before.

    One call at a time. Every method raises ``DependencyUnavailable`` where the store does not answer.
    """

    def __init__(self, fs: Any, path: str, path_of: Callable[[str], str]) -> None:
        self._fs, self._path, self._path_of = fs, path, path_of
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        if isinstance(fs, LocalFileSystem):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file: IO[bytes] = fs.open(path, "wb")

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        with _translated(UPLOADS):
            self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def seal(self) -> None:
        """Nothing more is written: bring it to the disk, which may take its time."""
        with _translated(UPLOADS):
            if isinstance(self._fs, LocalFileSystem):
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()

    def publish(self, key: str) -> None:
        """Give the sealed file its key."""
        path = self._path_of(key)
        with _translated(key):
            if isinstance(self._fs, LocalFileSystem):
                os.makedirs(os.path.dirname(path), exist_ok=True)
            self._fs.mv(self._path, path)

    def discard(self) -> None:
        """Remove it, whatever state it is in; nothing happens where it was published. Never raises."""
        with suppress(Exception):
            self._file.close()
        with suppress(Exception):
            if self._fs.isfile(self._path):
                self._fs.rm_file(self._path)


def _write_atomically(path: str, data: bytes) -> None:
    """Flushed to the disk before it gets its name, so that a row never points to a torn file."""
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    temporary = f"{directory}/.{uuid.uuid4().hex}.part"
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"There is no file '{key}'.") from error
    except (InvalidInput, NotFound):
        raise
    except Exception as error:  # object stores raise errors of their own libraries
        raise DependencyUnavailable("The media store does not answer.") from error
