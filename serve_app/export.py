"""All that a shop has as lines of JSON, one object each, the last one telling that nothing is missing.

Pages are read in transactions of their own and sent before the next one is read: memory stays bounded and a
slow client holds no connection. So rows that change meanwhile appear as they are when their page is read.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from db import exports, images, prompts
from db.images import ImageRow
from db.open_shops import require_open
from models.errors import AppError, NotFound
from models.event import Event
from models.image import Embedding
from models.image_api import ImageDetail
from models.job import Job
from models.mail import Mail
from models.prompt import Prompt
from models.shop import ApiKey, Shop
from models.taxonomy import AgeGroup, Category, Style
from serve_app.prompt_history import place_of
from serve_app.services import Services

logger = logging.getLogger("serve_app")
PAGE_ROWS = 250
CHUNK_BYTES = 64 * 1024
VOCABULARIES: dict[str, type[Any]] = {"category": Category, "style": Style, "age_group": AgeGroup}
OWNED: dict[str, type[Any]] = {"key": ApiKey, "mail": Mail, "job": Job}
# What of a row is the service's own business: secrets, leases, the tenant that every line shares.
HIDDEN = {"shop_id", "secret_hmac", "lease_token", "lease_until", "attempts", "link_id", "normalised"}
HIDDEN |= {"reindexing", "webhook_nonce"}

Line = dict[str, Any]
Show = Callable[[ImageRow], ImageDetail]
Row = TypeVar("Row")


@dataclass(frozen=True)
class ExportOptions:
    """What is added to each photo: its file, its vectors."""

    files: bool = False
    vectors: bool = False


async def export(
    services: Services, shop_id: int, show: Show, options: ExportOptions
) -> AsyncIterator[bytes]:
    """The lines, in chunks. After an error there is a line that says so, and no last line."""
    try:
        async for lines in _Export(services, shop_id, show, options).all():
            for start in range(0, len(lines), CHUNK_BYTES):
                yield lines[start : start + CHUNK_BYTES]
    except AppError as error:
        yield _encoded({"type": "error", "code": error.code, "detail": error.message})
    except Exception as error:  # the status is sent already: only the body can tell
        logger.error("an export failed", exc_info=error)
        detail = "Something went wrong on our side. Start the export again."
        yield _encoded({"type": "error", "code": AppError.code, "detail": detail})


class _Export:
    """Rows become lines in threads, so that an export never keeps the event loop from shoppers."""

    def __init__(self, services: Services, shop_id: int, show: Show, options: ExportOptions) -> None:
        self._services, self._shop_id, self._show, self._options = services, shop_id, show, options
        self._counts: Counter[str] = Counter()

    async def all(self) -> AsyncIterator[bytes]:
        """Whole lines, a page or one photo at a time."""
        newest, now = await self._read(lambda session: exports.bounds(session, self._shop_id))
        yield await self._lines("shop", lambda session: [session.get_one(Shop, self._shop_id)])
        for kind, vocabulary in VOCABULARIES.items():
            yield await self._lines(
                kind, partial(exports.used_terms, table=vocabulary, shop_id=self._shop_id)
            )
        for kind, table in OWNED.items():
            async for lines in self._owned(kind, table):
                yield lines
        async for lines in self._photos(newest):
            yield lines
        async for lines in self._prompts(now):
            yield lines
        async for lines in self._owned("event", Event):
            yield lines
        yield _encoded({"type": "end", "counts": dict(self._counts)})

    async def _read(self, query: Callable[[Session], Row]) -> Row:
        """One transaction; it fails once the shop is closed, so that no half of it is called whole."""

        def while_open(session: Session) -> Row:
            require_open(session, self._shop_id)
            return query(session)

        return await self._services.database.run(while_open)

    async def _lines(self, kind: str, query: Callable[[Session], Sequence[Any]]) -> bytes:
        return await self._render(kind, await self._read(query))

    async def _render(self, kind: str, rows: Sequence[Any]) -> bytes:
        self._counts[kind] += len(rows)
        return await asyncio.to_thread(lambda: b"".join(_encoded(_line(kind, row)) for row in rows))

    async def _owned(self, kind: str, table: type[Any]) -> AsyncIterator[bytes]:
        rows: Sequence[Any] = []
        while rows or kind not in self._counts:
            after = rows[-1].id if rows else 0
            query = partial(
                exports.owned, table=table, shop_id=self._shop_id, after_id=after, limit=PAGE_ROWS
            )
            rows = await self._read(query)
            yield await self._render(kind, rows)

    async def _prompts(self, until: datetime) -> AsyncIterator[bytes]:
        rows: list[Prompt] = []
        while rows or "prompt" not in self._counts:
            after = place_of(rows[-1]) if rows else None
            query = partial(prompts.oldest, shop_id=self._shop_id, after=after, until=until, limit=PAGE_ROWS)
            rows = await self._read(query)
            yield await self._render("prompt", rows)

    async def _photos(self, newest: int) -> AsyncIterator[bytes]:
        rows: list[ImageRow] = []
        while rows or "photo" not in self._counts:
            after = rows[-1].image_id if rows else 0
            rows, vectors = await self._read(partial(self._photo_page, after=after, newest=newest))
            self._counts["photo"] += len(rows)
            # A page of files could be gigabytes: they go one by one.
            step = 1 if self._options.files else PAGE_ROWS
            for start in range(0, len(rows), step):
                yield await asyncio.to_thread(self._photo_lines, rows[start : start + step], vectors)

    def _photo_page(
        self, session: Session, after: int, newest: int
    ) -> tuple[list[ImageRow], dict[int, list[Embedding]]]:
        rows = images.oldest(session, self._shop_id, after, newest, PAGE_ROWS)
        ids = [row.image_id for row in rows]
        return rows, exports.vectors(session, ids) if self._options.vectors else {}

    def _photo_lines(self, rows: list[ImageRow], vectors: dict[int, list[Embedding]]) -> bytes:
        return b"".join(_encoded(self._photo(row, vectors)) for row in rows)

    def _photo(self, row: ImageRow, vectors: dict[int, list[Embedding]]) -> Line:
        line: Line = {"type": "photo", **self._show(row).model_dump(mode="json")}
        if self._options.vectors:
            line["vectors"] = [
                {"model": one.model_key, "float32": _base64(one.vector)} for one in vectors[row.image_id]
            ]
        if self._options.files:
            line["file"] = self._file(row.image.photo_key)
        return line

    def _file(self, photo_key: str) -> str | None:
        """None where the photo was replaced or deleted since its row was read."""
        try:
            return _base64(self._services.media.load(photo_key))
        except NotFound:
            return None


def _line(kind: str, row: SQLModel) -> Line:
    return {"type": kind, **row.model_dump(mode="json", exclude=HIDDEN)}


def _encoded(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
