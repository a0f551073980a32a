"""Write entries of the search index anew from PostgreSQL, under the photos' lease.

So nobody else writes the same photos meanwhile, and they stay ``embedded`` and found throughout. PostgreSQL's
vectors, and so their revisions, are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from configs.serving import AuditArgs
from db import index_repairs, index_truth, late_writes
from db.index_repairs import Held
from db.session import Database
from db.vectors import VectorStore
from models.errors import AppError
from models.image import IndexVersion
from serve_app.late_writes import take_out


def nothing(_: int = 0) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class AuditParts:
    """``keep`` is called between pages, and raises where the work has to end; ``progress`` gets the number of
    photos since its last call. ``seed`` chooses the sample."""

    database: Database
    vectors: VectorStore
    args: AuditArgs
    lease_s: float = 60.0
    retry_delay_s: float = 2.0
    seed: int = 0
    keep: Callable[[], None] = nothing
    progress: Callable[[int], None] = nothing


@dataclass(frozen=True)
class CollectionOf:
    """Which collection: of one shop in one version."""

    version: IndexVersion
    shop_id: int

    @property
    def version_id(self) -> int:
        if self.version.id is None:
            raise AssertionError("a stored version has an id")
        return self.version.id


def write_anew(
    parts: AuditParts, target: CollectionOf, image_ids: Collection[int], *, remove_first: bool = False
) -> set[int]:
    """Upsert the photos as PostgreSQL has them, and remove those that failed; the ids for which it was done.

    Left out: photos that somebody works on. ``remove_first``: the entries are made afresh. Raises what
    Chroma's calls raise; the leases are given up then, too.
    """
    with parts.database.transaction() as session:
        held = index_repairs.claim(session, target.version, target.shop_id, image_ids, parts.lease_s)
    if not held.ids:
        return set()
    present = [record.image_id for record in held.records]
    version_id, shop_id = target.version_id, target.shop_id
    try:
        parts.vectors.delete(version_id, shop_id, held.unwanted + (present if remove_first else []))
        parts.vectors.upsert(version_id, shop_id, held.records)
    except AppError:  # the write may have happened, in whole or in part
        _finish(parts, target, held, parts.retry_delay_s)
        raise
    _finish(parts, target, held)
    return held.ids


def remove_strays(parts: AuditParts, target: CollectionOf, image_ids: Collection[int]) -> set[int]:
    """Remove entries that no photo stands behind; the ids for which it was done.

    An id without a row never gets one again, so nobody writes it. A failed photo may be tried again at any
    moment: that goes by its lease.
    """
    with parts.database.transaction() as session:
        known = {one.image_id for one in index_truth.rows(session, target.version, target.shop_id, image_ids)}
    gone = [image_id for image_id in image_ids if image_id not in known]
    parts.vectors.delete(target.version_id, target.shop_id, gone)
    return set(gone) | write_anew(parts, target, known)


def queue_damaged(parts: AuditParts, target: CollectionOf, image_ids: Collection[int]) -> int:
    """Have photos embedded again whose vector PostgreSQL lost; how many."""
    with parts.database.transaction() as session:
        return index_repairs.queue_damaged(session, target.version, target.shop_id, image_ids)


def _finish(parts: AuditParts, target: CollectionOf, held: Held, delay_s: float = 0.0) -> None:
    with parts.database.transaction() as session:
        late = late_writes.give_back(session, held.token, dict.fromkeys(held.ids, target.shop_id), delay_s)
    take_out(parts.vectors, [target.version_id], late)
