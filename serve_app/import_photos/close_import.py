"""The end of an import: its files and rows go, its counts and errors stay, its shop is told."""

from __future__ import annotations

from db import import_rows, imports, webhooks
from db.imports import ClosingImport
from db.media import MediaStore, image_prefix, source_folder
from db.session import Database


def close_import(database: Database, media: MediaStore, closing: ClosingImport) -> bool:
    """Whether it is closed now. Repeatable: the files go first, and nothing needs them any more."""
    job = closing.claimed
    with database.transaction() as session:
        unused = import_rows.unused_ids(session, job.job_id)
    for image_id in unused:
        media.delete_tree(image_prefix(job.shop_id, image_id))
    media.delete_tree(source_folder(job.request.source))
    with database.transaction() as session:
        counts = import_rows.count(session, job.job_id, job.counts)
        counts.rows_per_s = None
        ended = imports.close(session, closing, counts)
        if ended is None:
            return False
        import_rows.delete_all(session, job.job_id)
        webhooks.announce(session, ended)
    return True
