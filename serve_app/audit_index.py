"""The audit of the search index: each collection held against PostgreSQL, its photos looked for, repaired."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from db import index_audits, index_truth, index_versions, score_floors
from db.index_audits import ClaimedAudit
from models.errors import AppError, Conflict
from models.image import IndexVersion
from serve_app.compare_index import Comparison, Report
from serve_app.reach_index import check_reach
from serve_app.rebuild_index import rebuild, rebuild_beside
from serve_app.repair_index import AuditParts, CollectionOf


def audit_collection(parts: AuditParts, version: IndexVersion, shop_id: int, *, repair: bool) -> Report:
    """Compare one shop's collection of one version with PostgreSQL, whatever the version's state.

    Raises Conflict while another works on it or where the shop is being deleted, DependencyUnavailable or
    DependencyTimeout where a part does not answer.
    """
    target = CollectionOf(version, shop_id)
    return _under_lease(parts, target, _claimed(parts, target), lambda own: _compare(own, target, repair))


def rebuild_collection(parts: AuditParts, version: IndexVersion, shop_id: int) -> Report:
    """Make one collection anew from PostgreSQL. Raises as ``audit_collection`` does."""
    target = CollectionOf(version, shop_id)
    return _under_lease(parts, target, _claimed(parts, target), lambda own: rebuild(own, target))


def audit_claimed(parts: AuditParts, claimed: ClaimedAudit, *, repair: bool) -> Report | None:
    """The same for a collection that was claimed; None where its version is gone by now."""
    with parts.database.transaction() as session:
        version = session.get(IndexVersion, claimed.version_id)
    if version is None:
        return None
    target = CollectionOf(version, claimed.shop_id)
    return _under_lease(parts, target, claimed, lambda own: _compare(own, target, repair))


def foreign_collections(parts: AuditParts) -> list[tuple[int, int]]:
    """(version id, shop id) of collections whose version or shop does not exist (any more).

    The collections are listed first: a row is there before its collection.
    """
    collections = parts.vectors.collections()
    with parts.database.transaction() as session:
        versions, shops = set(index_versions.ids(session)), index_truth.shop_ids(session)
    return sorted(one for one in collections if one[0] not in versions or one[1] not in shops)


def remove_foreign(parts: AuditParts, collections: Sequence[tuple[int, int]]) -> None:
    """Drop collections that ``foreign_collections`` named.

    Raises Conflict where all that Chroma has is foreign: then it is another database's index.
    """
    if collections and len(collections) == len(parts.vectors.collections()):
        raise Conflict(
            f"None of Chroma's {len(collections)} collections belongs to this database: it looks like "
            "another one's index, and nothing was removed. Check CHROMA_URL and DATABASE_URL."
        )
    for version_id, shop_id in collections:
        parts.vectors.drop(version_id, shop_id)


def _compare(parts: AuditParts, target: CollectionOf, repair: bool) -> Report:
    if repair:
        parts.vectors.settle_swap(target.version_id, target.shop_id)
        if _has_other_dimension(parts, target):
            return _replace(parts, target)
    comparison = Comparison(parts, target, repair=repair)
    report = comparison.run()
    check_reach(parts, target, comparison.sample, report, repair=repair)
    return report


def _has_other_dimension(parts: AuditParts, target: CollectionOf) -> bool:
    known = parts.vectors.dimension(target.version_id, target.shop_id)
    return known is not None and known != target.version.dimension


def _replace(parts: AuditParts, target: CollectionOf) -> Report:
    """Chroma takes no vector of the right dimension into such a collection: it is made anew beside."""
    report = Comparison(parts, target, repair=False).run()
    after = rebuild_beside(parts, target)
    if _has_other_dimension(parts, target):  # the shop has no photo, and so nothing was swapped in
        parts.vectors.drop(target.version_id, target.shop_id)
    report.rebuilt, report.busy = True, after.busy
    report.repaired = report.found - (after.found - after.repaired)
    return report


def _claimed(parts: AuditParts, target: CollectionOf) -> ClaimedAudit:
    with parts.database.transaction() as session:
        claimed = index_audits.claim(session, target.version_id, target.shop_id, parts.lease_s)
    if claimed is None:
        raise Conflict(
            f"The collection of shop {target.shop_id} is being audited or rebuilt by another, or the shop is "
            "being deleted. Try again in a minute."
        )
    return claimed


def _under_lease(
    parts: AuditParts, target: CollectionOf, claimed: ClaimedAudit, work: Callable[[AuditParts], Report]
) -> Report:
    try:
        report = work(replace(parts, keep=_Keeper(parts, claimed)))
    except AppError:
        with parts.database.transaction() as session:
            index_audits.release(session, claimed, parts.retry_delay_s)
        raise
    with parts.database.transaction() as session:
        index_audits.finish(session, claimed, as_json(report), dict(report.repaired.items()))
        if report.repaired or report.rebuilt:
            score_floors.note_change(session, target.version.model_key, {target.shop_id})
    return report


def as_json(report: Report) -> dict[str, object]:
    """What was found, for the table and for scripts."""
    return {
        "photos": report.photos,
        "found": dict(report.found),
        "left": report.left,
        "busy": report.busy,
        "unfilled": report.unfilled,
        "rebuilt": report.rebuilt,
        "examples": report.examples,
    }


class _Keeper:
    """Between two pages: goes easy on the servers, and prolongs the lease in time."""

    def __init__(self, parts: AuditParts, claimed: ClaimedAudit) -> None:
        self._parts, self._claimed = parts, claimed
        self._renewed_at = time.monotonic()

    def __call__(self) -> None:
        parts = self._parts
        parts.keep()
        if time.monotonic() - self._renewed_at < parts.lease_s / 3:
            return
        with parts.database.transaction() as session:
            if not index_audits.renew(session, self._claimed, parts.lease_s):
                raise Conflict("Another has taken this collection over; its audit goes on there.")
        self._renewed_at = time.monotonic()
