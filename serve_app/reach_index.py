"""Whether photos are found by their own vectors: a graph index can lose the way to an entry that it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from db.index_truth import Truth
from models.index_audit import Finding
from serve_app.compare_index import Report, truth_pages
from serve_app.found_entries import is_found
from serve_app.rebuild_index import rebuild_beside
from serve_app.repair_index import AuditParts, CollectionOf, write_anew

NEAREST = 10
QUERIES_PER_CALL = 32  # no more than a batch of shoppers' prompts: those wait behind it
BEYOND_REPAIR = 0.05  # a share of lost photos from which on the collection is built anew at once
MAX_LEFT = 10_000


def unreachable(parts: AuditParts, target: CollectionOf, photos: Sequence[Truth]) -> list[Truth]:
    """Those that are not among the nearest of their own vector."""
    lost: list[Truth] = []
    for start in range(0, len(photos), QUERIES_PER_CALL):
        parts.keep()
        part = [one for one in photos[start : start + QUERIES_PER_CALL] if one.vector is not None]
        vectors = np.stack([one.vector for one in part if one.vector is not None])
        found = parts.vectors.query(target.version_id, target.shop_id, vectors, NEAREST)
        for one, hits in zip(part, found, strict=True):
            if not is_found(one.image_id, hits):
                lost.append(one)
    return lost


def check_reach(
    parts: AuditParts, target: CollectionOf, sample: Sequence[Truth], report: Report, *, repair: bool
) -> None:
    """Look for the sampled photos; where some are lost and ``repair``, for all, and bring them back."""
    lost = _still_there(parts, target, unreachable(parts, target, sample))
    if not lost:
        return
    if not repair or len(lost) > BEYOND_REPAIR * len(sample):
        report.note(Finding.UNREACHABLE, {one.image_id for one in lost})
    if not repair:
        return
    if len(lost) <= BEYOND_REPAIR * len(sample):
        lost = _write_all_anew(parts, target, report)
    if lost:
        rebuild_beside(parts, target)
        report.rebuilt = True
    left = _still_there(parts, target, unreachable(parts, target, lost))
    report.repaired[Finding.UNREACHABLE] = report.found[Finding.UNREACHABLE] - len(left)


def _write_all_anew(parts: AuditParts, target: CollectionOf, report: Report) -> list[Truth]:
    """Write every lost photo of the collection again, at first over its entry, then instead of it.

    Returns photos that this did not bring back.
    """
    left: list[Truth] = []
    for page in truth_pages(parts, target):
        settled = [one for one in page if one.settled and one.vector is not None]
        lost = _still_there(parts, target, unreachable(parts, target, settled))
        report.note(Finding.UNREACHABLE, {one.image_id for one in lost})
        for remove_first in (False, True):
            if lost:
                ids = {one.image_id for one in lost}
                write_anew(parts, target, ids, remove_first=remove_first)
                lost = unreachable(parts, target, lost)
        left += lost[: MAX_LEFT - len(left)]
    return left


def _still_there(parts: AuditParts, target: CollectionOf, lost: Sequence[Truth]) -> list[Truth]:
    """Those that the index has: whatever was removed meanwhile need not be found."""
    present = parts.vectors.read(target.version_id, target.shop_id, [one.image_id for one in lost])
    return [one for one in lost if one.image_id in present]
