"""The body of an import, from the connection to the media store, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from db.media import Upload
from models.errors import BodyTooSlow, InvalidInput, MediaTypeUnsupported
from models.import_job import ImportOptions
from serve_app.import_feed import ReceivedFeed
from serve_app.routes.feed_form import FILE, FeedBody, FeedForm, RawFeed

PART_BYTES = 2**20
STALL_S = 60.0
MULTIPART = "multipart/form-data"
RAW_TYPES = (
    *("text/csv", "text/tab-separated-values", "text/plain", "application/json"),
    *("application/x-ndjson", "application/jsonl", "application/zip", "application/x-zip-compressed"),
    "application/octet-stream",
)


async def received(request: Request, upload: Upload, options: ImportOptions) -> ReceivedFeed:
    """The whole body, its file written into ``upload``; at most ``PART_BYTES`` and a chunk are in memory.

    Raises MediaTypeUnsupported, InvalidInput, BodyTooSlow, and what FastAPI's validation raises for fields.
    """
    body = _body(request, upload, options)
    try:
        async with aclosing(_parts(request)) as parts:
            async for part in parts:
                await asyncio.to_thread(body.take, part)
    except ClientDisconnect:
        raise InvalidInput("The connection ended before the body did. Send it again.") from None
    return ReceivedFeed(await asyncio.to_thread(body.end), upload, body.file_name, body.media_type)


def _body(request: Request, upload: Upload, options: ImportOptions) -> FeedBody:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeUnsupported("The body is packed (Content-Encoding). Send it as it is, or as a ZIP.")
    media_type, parameters = parse_options_header(request.headers.get("content-type"))
    kind = media_type.decode("latin-1").lower()
    if kind == MULTIPART:
        if not parameters.get(b"boundary"):
            raise InvalidInput("The form's Content-Type names no boundary. Let your client set that header.")
        return FeedForm(upload, options, parameters[b"boundary"])
    if kind in RAW_TYPES:
        return RawFeed(upload, options, kind)
    raise MediaTypeUnsupported(
        f"The Content-Type {kind[:100]!r} is none of a feed. Send a form with the field '{FILE}', or the "
        f"file itself as {', '.join(RAW_TYPES[:1] + RAW_TYPES[3:7])}."
    )


async def _parts(request: Request) -> AsyncGenerator[bytes]:
    """The body in parts of ``PART_BYTES`` or a little more: each costs a change of threads."""
    waiting, size = list[bytes](), 0
    stream = request.stream()
    while chunk := await _next(stream):
        waiting.append(chunk)
        size += len(chunk)
        if size >= PART_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


async def _next(stream: AsyncIterator[bytes]) -> bytes:
    try:
        async with asyncio.timeout(STALL_S):
            return await anext(stream, b"")
    except TimeoutError:
        raise BodyTooSlow(f"No byte of the body came for {STALL_S:g} s. Send it again.") from None


def feed_body() -> dict[str, Any]:
    """OpenAPI of a body that is a form or the file itself."""
    schema = ImportOptions.model_json_schema(ref_template="#/components/schemas/{model}")
    binary = {"type": "string", "format": "binary"}
    schema["properties"] |= {FILE: binary | {"description": "The feed."}}
    schema["required"] = [FILE]
    content = {MULTIPART: {"schema": schema}, **{kind: {"schema": binary} for kind in RAW_TYPES}}
    return {"requestBody": {"content": content, "required": True}}
