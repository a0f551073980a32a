"""How much background work waits or failed, over all shops, for the operator's dashboards."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.turns import Waiting


@dataclass(frozen=True)
class WorkLevels:
    """``photos``: by what they wait for, or `failed`; ``photo_age_s``: of the oldest of each of these.

    ``found``, ``repaired``: photos of each collection's last comparison, by finding; ``left``: unrepaired.
    """

    photos: dict[str, int] = field(default_factory=dict)
    photo_age_s: dict[str, float] = field(default_factory=dict)
    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    mails: dict[str, int] = field(default_factory=dict)
    webhooks: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)


PHOTO_STATES = ("pending", "processing", "deleting", "failed", "metadata")
# Each condition on photos is that of a partial index. Estimates of how many rows fulfil it may be an hour
# old, and would have PostgreSQL read the whole table; without that choice the cost grows with the work alone.
_BY_INDEX = text("SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)")
_READ = text(
    f"""
    SELECT 'photos', status, NULL, count(*), extract(epoch FROM now() - min(updated_at))
      FROM image WHERE {Waiting.FOR_EMBEDDING.value} GROUP BY status
    UNION ALL
    SELECT 'photos', status, NULL, count(*), extract(epoch FROM now() - min(updated_at))
      FROM image WHERE status IN ('deleting', 'failed') GROUP BY status
    UNION ALL
    SELECT 'photos', 'metadata', NULL, count(*), coalesce(extract(epoch FROM now() - min(updated_at)), 0)
      FROM image WHERE {Waiting.FOR_METADATA.value}
    UNION ALL
    SELECT 'jobs', kind, status, count(*), 0 FROM job
     WHERE status IN ('queued', 'running', 'failed') GROUP BY kind, status
    UNION ALL
    SELECT 'mails', status, NULL, count(*), 0 FROM mail WHERE status IN ('queued', 'failed') GROUP BY status
    UNION ALL
    SELECT 'webhooks', 'queued', NULL, count(*), 0 FROM webhook_delivery WHERE status = 'queued'
    UNION ALL
    SELECT 'found', key, NULL, sum(value::int), 0
      FROM index_audit, jsonb_each_text(found -> 'found') GROUP BY key
    UNION ALL
    SELECT 'repaired', key, NULL, sum(value::int), 0
      FROM index_audit, jsonb_each_text(repaired) GROUP BY key
    UNION ALL
    SELECT 'left', 'all', NULL, coalesce(sum((found ->> 'left')::int), 0), 0 FROM index_audit
    """
)


def read(session: Session) -> WorkLevels:
    """As of now. What is 0 may be left out."""
    session.execute(_BY_INDEX)
    levels = WorkLevels()
    for what, kind, status, number, age_s in session.execute(_READ):
        if what == "jobs":
            levels.jobs[kind, status] = number
        else:
            getattr(levels, what)[kind] = int(number)
        if what == "photos":
            levels.photo_age_s[kind] = float(age_s)
    return levels
