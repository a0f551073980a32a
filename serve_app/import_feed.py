"""Take a feed that a shop sent, once, and queue its import."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass

from sqlalchemy.orm import Session

from configs.serving import ImportArgs
from db import import_requests
from db.import_requests import OnceOnly
from db.media import Upload, new_source_key
from db.open_shops import lock_open
from models.errors import Conflict, TooManyRequests
from models.import_job import ImportOptions, ImportRequest
from models.job import Job
from serve_app.services import Services


@dataclass(frozen=True)
class ReceivedFeed:
    """A feed that came whole. ``file_name``, ``media_type``: what the client says of it."""

    options: ImportOptions
    upload: Upload
    file_name: str | None = None
    media_type: str | None = None


async def refuse_early(services: Services, shop_id: int, key: str | None) -> None:
    """Before the body is read: raises TooManyRequests where it could not be queued.

    With an idempotency key that was used it may be in the queue already, so that is seen later.
    """

    def refuse(session: Session) -> None:
        if key is None or import_requests.with_key(session, shop_id, key) is None:
            _require_room(session, shop_id, services.imports.max_waiting)

    await services.database.read(refuse)


async def start_import(services: Services, shop_id: int, feed: ReceivedFeed, key: str | None) -> Job:
    """The new job; with a ``key`` that the shop used for the same request, the job of then.

    Raises Conflict where it used the key for another request, TooManyRequests, NotAuthenticated (closed).
    """
    await asyncio.to_thread(feed.upload.seal)
    return await services.database.run(lambda session: enqueue(session, services.imports, shop_id, feed, key))


def enqueue(session: Session, args: ImportArgs, shop_id: int, feed: ReceivedFeed, key: str | None) -> Job:
    """The same within a transaction, with a feed that is sealed. It gets its key under the shop's lock."""
    lock_open(session, shop_id)
    once = OnceOnly(key, request_sha256(feed)) if key is not None else None
    if once is not None and (known := import_requests.with_key(session, shop_id, once.key)):
        return _the_same(known, once)
    _require_room(session, shop_id, args.max_waiting)
    request = ImportRequest(
        **feed.options.model_dump(),
        source=new_source_key(shop_id),
        size_bytes=feed.upload.size_bytes,
        sha256=feed.upload.sha256,
        media_type=feed.media_type,
        file_name=feed.file_name,
    )
    job = import_requests.add(session, shop_id, request, once)
    if job is not None:
        feed.upload.publish(request.source)
        return job
    if once is None or (known := import_requests.with_key(session, shop_id, once.key)) is None:
        raise AssertionError("only a key that is in use keeps a job from being added")
    return _the_same(known, once)


def request_sha256(feed: ReceivedFeed) -> str:
    """Of the options and the file's bytes: what makes two requests the same."""
    options = json.dumps(feed.options.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(f"{options}{feed.upload.sha256}".encode()).hexdigest()


def _the_same(known: Job, once: OnceOnly) -> Job:
    if known.request_sha256 != once.request_sha256:
        raise Conflict(
            f"The Idempotency-Key was used for job {known.id}, with another file or other options. Send what "
            "was sent then, or use a new key."
        )
    return known


def _require_room(session: Session, shop_id: int, max_waiting: int) -> None:
    if import_requests.count_waiting(session, shop_id) >= max_waiting:
        raise TooManyRequests(
            f"{max_waiting} imports of this shop are not finished. Wait for one, or cancel one."
        )
