"""A collection of the search index made anew from PostgreSQL; no model is needed, nothing is out of reach.

Photos are written without leases, as they are read: what changes meanwhile is found and put right by the
comparison that follows.
"""

from __future__ import annotations

from dataclasses import replace

from db.open_shops import not_deleting
from db.vectors import VectorRecord
from serve_app.compare_index import Comparison, Report, truth_pages
from serve_app.repair_index import AuditParts, CollectionOf


def rebuild(parts: AuditParts, target: CollectionOf) -> Report:
    """Make the shop's collection anew: in its place where there is none, else beside it.

    In its place, photos are found as they come back.
    """
    parts.vectors.settle_swap(target.version_id, target.shop_id)
    if parts.vectors.exists(target.version_id, target.shop_id):
        return rebuild_beside(parts, target)
    _fill(parts, target)
    return Comparison(_quiet(parts), target, repair=True).run()


def rebuild_beside(parts: AuditParts, target: CollectionOf) -> Report:
    """Fill a collection beside the shop's, catch up with what changed, and swap the two.

    Queries are answered by the one or the other. What was written into the former one during the swap is
    written again by the last comparison.
    """
    parts.vectors.settle_swap(target.version_id, target.shop_id)
    side = replace(parts, vectors=parts.vectors.beside())
    _fill(side, target)
    Comparison(_quiet(side), target, repair=True).run()
    if not side.vectors.exists(target.version_id, target.shop_id):
        return Comparison(_quiet(parts), target, repair=True).run()  # the shop has no photo to fill it with
    parts.vectors.swap_in(target.version_id, target.shop_id)
    return Comparison(_quiet(parts), target, repair=True).run()


def _fill(parts: AuditParts, target: CollectionOf) -> None:
    for page in truth_pages(parts, target):
        records = [
            VectorRecord(one.image_id, one.vector, one.photo_sha256, one.terms)
            for one in page
            if one.settled and one.vector is not None
        ]
        parts.vectors.upsert(target.version_id, target.shop_id, records)
        parts.progress(len(page))
    with parts.database.transaction() as session:
        still_open = not_deleting(session, [target.shop_id])
    if not still_open:  # its collections were dropped, and this made one anew
        parts.vectors.drop(target.version_id, target.shop_id)


def _quiet(parts: AuditParts) -> AuditParts:
    return replace(parts, progress=lambda _: None)
