"""What is removed by itself, once an hour."""

from __future__ import annotations

import logging

from sqlalchemy.orm import Session

from db import import_requests, mails, signups, webhooks
from db.media import MediaStore, source_folder
from db.session import Database
from models.import_job import ImportRequest

logger = logging.getLogger("serve_app")
EVERY_S = 3600.0
UPLOAD_S = 24 * 3600.0  # longer than any client takes to send a feed


def tidy(session: Session) -> None:
    """Remove sign-ups that nobody confirmed, and mails and webhook messages of long ago."""
    shops, old = signups.remove_stale_shops(session), mails.remove_old(session)
    if shops or old:
        logger.info("removed %d sign-ups that were not confirmed and %d old mails", shops, old)
    if messages := webhooks.remove_old(session):
        logger.info("removed %d old webhook messages", messages)


def tidy_imports(database: Database, media: MediaStore, keep_days: int) -> None:
    """Remove imports of long ago, and uploads whose process died."""
    imports, uploads = _remove_imports(database, media, keep_days), media.remove_stale_uploads(UPLOAD_S)
    if imports or uploads:
        logger.info("removed %d imports of long ago and %d uploads that broke off", imports, uploads)


def _remove_imports(database: Database, media: MediaStore, keep_days: int) -> int:
    """Their files first: without the row nobody would find them."""
    removed = 0
    while True:
        with database.transaction() as session:
            jobs = import_requests.expired(session, keep_days)
        for job in jobs:
            media.delete_tree(source_folder(ImportRequest.model_validate(job.request).source))
        with database.transaction() as session:
            removed += import_requests.remove(session, [job.id for job in jobs if job.id is not None])
        if not jobs:
            return removed
