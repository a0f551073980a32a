"""Whether background work may be waiting: one statement in place of a claim of each kind, all in vain."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.turns import Waiting


class WorkSigns(NamedTuple):
    """By table and kind, true wherever a claim could find something. What is leased, put off or not due yet
    counts too: whether it can be claimed is the claim's to say."""

    embedding: bool
    deleting: bool
    metadata: bool
    jobs: bool
    floors: bool
    mails: bool
    webhooks: bool


# Each condition is that of a partial index. Ordered as the index is: an estimate of how many rows fulfil it,
# which may be an hour old, would have PostgreSQL read the table to find the first.
_LOOK = text(
    f"""
    SELECT (SELECT id FROM image WHERE {Waiting.FOR_EMBEDDING.value}
             ORDER BY shop_id, id LIMIT 1) IS NOT NULL,
           (SELECT id FROM image WHERE status = 'deleting' ORDER BY status, id LIMIT 1) IS NOT NULL,
           (SELECT id FROM image WHERE {Waiting.FOR_METADATA.value} ORDER BY shop_id, id LIMIT 1) IS NOT NULL
               OR (SELECT id FROM shop WHERE reindexing ORDER BY id LIMIT 1) IS NOT NULL,
           (SELECT id FROM job WHERE status IN ('queued', 'running') ORDER BY id LIMIT 1) IS NOT NULL,
           (SELECT shop_id FROM score_floor WHERE revision <> computed_revision
             ORDER BY behind_since LIMIT 1) IS NOT NULL,
           (SELECT id FROM mail WHERE status = 'queued' ORDER BY id LIMIT 1) IS NOT NULL,
           (SELECT id FROM webhook_delivery WHERE status = 'queued' ORDER BY created_at LIMIT 1) IS NOT NULL
    """
)


def look(session: Session) -> WorkSigns:
    """As of now."""
    return WorkSigns(*session.execute(_LOOK).one())
