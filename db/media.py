"""The photos' files, in a directory or an object store (any fsspec URL)."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
from fsspec.implementations.local import LocalFileSystem

from models.errors import DependencyUnavailable, InvalidInput, NotFound

KEY = re.compile(r"[A-Za-z0-9._/-]+")
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


def import_prefix(shop_id: int, job_id: int) -> str:
    """Where all files of one import lie, until it ends."""
    return f"{shop_prefix(shop_id)}/imports/{job_id}"


def import_source_key(shop_id: int, job_id: int) -> str:
    """The feed of one import, as it was sent."""
    return f"{import_prefix(shop_id, job_id)}/source"


def photo_key(shop_id: int, image_id: int, sha256: str, media_type: str) -> str:
    """A new key for one photo's file; never given twice, so that an old file can be removed at any time."""
    suffix = SUFFIXES.get(media_type, ".bin")
    return f"{image_prefix(shop_id, image_id)}/{sha256[:16]}-{uuid.uuid4().hex[:8]}{suffix}"


class MediaStore:
    """Files by key. Keys are relative POSIX paths; anything else raises ``InvalidInput``.

    Every method raises ``DependencyUnavailable`` where the store does not answer.
    """

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)

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

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        with _translated(key):
            return bool(self._fs.isfile(self._path(key)))

    def delete_tree(self, prefix: str) -> None:
        """Remove every file under the prefix; nothing happens where there is none."""
        path = self._path(prefix)
        with _translated(prefix):
            self._fs.invalidate_cache()
            if self._fs.exists(path):
                self._fs.rm(path, recursive=True)

    def folders(self, prefix: str) -> list[str]:
        """Prefixes of what lies directly under this one, folders and files; empty where there is nothing."""
        path = self._path(prefix)
        with _translated(prefix):
            self._fs.invalidate_cache()
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
        raise NotFound(f"There is no photo file '{key}'.") from error
    except (InvalidInput, NotFound):
        raise
    except Exception as error:  # object stores raise errors of their own libraries
        raise DependencyUnavailable("The photo store does not answer.") from error
