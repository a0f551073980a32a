"""The members of a ZIP of photos: what is there, checked before anything is unpacked."""

from __future__ import annotations

import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from posixpath import basename, dirname, splitext
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from models.errors import FeedUnreadable, PhotoMissing, PhotoTooLarge, PhotoUnreadable
from models.feed import PhotoFile
from serve_app.feeds.limits import MAX_DIRECTORY_BYTES, MAX_MEMBERS, MAX_RATIO, MIN_BOMB_BYTES, FeedLimits

_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_END_BYTES, _MAX_COMMENT_BYTES, _ENTRY_BYTES, _LOCAL_BYTES = 22, 65_535, 46, 30
DAMAGED = "The ZIP is damaged or not complete. Pack it again and send all of it."


class ZipDirectory:
    """The members by name. Raises FeedUnreadable where the ZIP is damaged, or more than anyone needs."""

    def __init__(self, source: BinaryIO, limits: FeedLimits) -> None:
        self.limits = limits
        _check_size(source)
        source.seek(0)
        try:
            self.archive = ZipFile(source)
        except (zipfile.BadZipFile, ValueError, OverflowError, struct.error, NotImplementedError):
            raise FeedUnreadable(DAMAGED) from None
        _check_declared(source, self.archive.infolist())
        self.members = [one for one in self.archive.infolist() if _is_file(one) and not _is_hidden(one)]
        self._paths = _by_name(self.members, _path)
        self._names = _by_name(self.members, lambda one: basename(_path(one)))
        self.folder = ""

    def find(self, name: str) -> PhotoFile:
        """The photo of that path, of that path beside the feed or, where only one has it, of that file name.

        Raises PhotoMissing, PhotoTooLarge, PhotoUnreadable.
        """
        path = _plain(name)
        for key in (path, self.folder + path):
            if key in self._paths:
                return self.photo(_only(name, self._paths[key]))
        if basename(path) in self._names:
            member = _only(name, self._names[basename(path)])
            if _is_end_of(path, _path(member)) or _is_end_of(_path(member), path):
                return self.photo(member)
        raise PhotoMissing(f"The ZIP has no {name[:200]!r}. Add the photo, or correct its name.")

    def photo(self, member: ZipInfo) -> PhotoFile:
        """Where the member lies. Raises PhotoTooLarge, PhotoUnreadable."""
        name, limit = member.filename, self.limits.max_photo_bytes
        if problem := unreadable(member):
            raise PhotoUnreadable(f"{name[:200]!r} {problem}")
        if member.file_size > limit or member.compress_size > limit + limit // 8:
            raise PhotoTooLarge(f"{name[:200]!r} has {member.file_size} bytes; the limit is {limit}.")
        deflated = member.compress_type == ZIP_DEFLATED
        return PhotoFile(
            name, member.header_offset, member.compress_size, member.file_size, member.CRC, deflated
        )


def _only(name: str, member: ZipInfo | None) -> ZipInfo:
    if member is None:
        raise PhotoMissing(f"{name[:200]!r} is there more than once. Write its path in the ZIP.")
    return member


def _is_end_of(end: str, path: str) -> bool:
    """Whether the one path is the other, less leading folders: red/1.jpg is not blue/1.jpg."""
    return path == end or path.endswith(f"/{end}")


def unreadable(member: ZipInfo) -> str:
    """Why a member's bytes are not read; "" where they are."""
    if member.flag_bits & 0x1:
        return "is encrypted. Pack the ZIP without a password."
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a symbolic link. Pack the file itself."
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return "is packed by an unusual method. Pack the ZIP by the ordinary one (deflate)."
    return ""


def zipped_photo(source: BinaryIO, photo: PhotoFile) -> bytes:
    """The photo's bytes, from the ZIP that it was found in; no more is read than its directory says.

    Raises PhotoUnreadable where they are damaged.
    """
    source.seek(photo.offset)
    header = source.read(_LOCAL_BYTES)
    if len(header) < _LOCAL_BYTES or not header.startswith(_LOCAL):
        raise PhotoUnreadable(f"{photo.name[:200]!r} is damaged in the ZIP. Pack it again.")
    name_bytes, extra_bytes = struct.unpack_from("<2H", header, 26)
    source.seek(photo.offset + _LOCAL_BYTES + name_bytes + extra_bytes)
    content = source.read(photo.packed_bytes)
    try:
        if photo.deflated:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, photo.size_bytes + 1)
    except zlib.error:
        content = b""
    if len(content) != photo.size_bytes or zlib.crc32(content) != photo.crc32:
        raise PhotoUnreadable(f"{photo.name[:200]!r} is damaged in the ZIP. Pack it again.")
    return content


def _plain(name: str) -> str:
    """A path as people write it, on whatever system."""
    path = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return path.removeprefix("./").lstrip("/")


def _path(member: ZipInfo) -> str:
    return _plain(member.filename)


def _by_name(members: Iterable[ZipInfo], name_of: Callable[[ZipInfo], str]) -> dict[str, ZipInfo | None]:
    """None for a name that several have."""
    found: dict[str, ZipInfo | None] = {}
    for member in members:
        name = name_of(member)
        found[name] = None if name in found else member
    return found


def _is_file(member: ZipInfo) -> bool:
    return member.filename != "" and not member.is_dir()


def _is_hidden(member: ZipInfo) -> bool:
    """What systems add by themselves."""
    parts = _path(member).split("/")
    return (
        any(part.startswith(".") and part.strip(".") for part in parts)
        or "__MACOSX" in parts
        or (parts[-1].lower() in ("thumbs.db", "desktop.ini"))
    )


def _check_declared(source: BinaryIO, members: Sequence[ZipInfo]) -> None:
    packed_bytes = source.seek(0, 2)
    if not all(0 <= member.header_offset < packed_bytes for member in members):
        raise FeedUnreadable(DAMAGED)
    unpacked_bytes = sum(member.file_size for member in members)
    if unpacked_bytes > MIN_BOMB_BYTES and unpacked_bytes > MAX_RATIO * packed_bytes:
        raise FeedUnreadable(
            f"The ZIP has {packed_bytes} bytes and says that it unpacks to {unpacked_bytes}, more than "
            f"{MAX_RATIO} times as many: no photos do that."
        )


def _check_size(source: BinaryIO) -> None:
    """Before the directory is read as a whole: how many members has it? Raises FeedUnreadable."""
    start, size_bytes = _directory_place(source)
    if size_bytes > MAX_DIRECTORY_BYTES:
        raise FeedUnreadable(
            f"The ZIP's list of members takes {size_bytes} bytes; the limit is {MAX_DIRECTORY_BYTES}. "
            "Send it in parts."
        )
    source.seek(start)
    directory = memoryview(source.read(size_bytes))
    at = members = 0
    while at + _ENTRY_BYTES <= len(directory) and directory[at : at + 4] == _ENTRY:
        at += _ENTRY_BYTES + sum(struct.unpack_from("<3H", directory, at + 28))
        members += 1
    if members > MAX_MEMBERS:
        raise FeedUnreadable(f"The ZIP has {members} members; the limit is {MAX_MEMBERS}. Send it in parts.")


def _directory_place(source: BinaryIO) -> tuple[int, int]:
    """Offset and bytes of the list of members."""
    end = source.seek(0, 2)
    source.seek(max(0, end - _END_BYTES - _MAX_COMMENT_BYTES))
    before = source.tell()
    tail = source.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise FeedUnreadable(DAMAGED)
    size_bytes = int(struct.unpack_from("<L", tail, at + 12)[0])
    stop = before + at
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR_64:
        stop = int(struct.unpack_from("<Q", tail, at - 12)[0])
        source.seek(min(stop, end))
        record = source.read(56)
        if len(record) < 56 or not record.startswith(_END_64):
            raise FeedUnreadable(DAMAGED)
        size_bytes = int(struct.unpack_from("<Q", record, 40)[0])
    if size_bytes > stop:
        raise FeedUnreadable(DAMAGED)
    return stop - size_bytes, size_bytes


def stem(member: ZipInfo) -> str:
    """The file's name without folder and suffix."""
    return splitext(basename(_path(member)))[0]


def folder(member: ZipInfo) -> str:
    """The member's folder, with the slash; "" at the top."""
    inside = dirname(_path(member))
    return f"{inside}/" if inside else ""
