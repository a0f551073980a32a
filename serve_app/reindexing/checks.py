"""What a filled version has to stand before it may answer: repair, score floors, the gate."""

from __future__ import annotations

import time
from dataclasses import replace

from db import index_truth, score_floors
from db.session import allow_long_statements
from models.errors import Conflict, DependencyUnavailable
from models.image import IndexVersion
from serve_app.audit_index import audit_collection
from serve_app.gate import GateParts, GateReport, Side, compare_versions
from serve_app.reindexing.hold import Hold
from serve_app.reindexing.parts import ReindexParts
from serve_app.repair_index import AuditParts
from serve_app.startup import id_of

FOLLOW_PATIENCE_S = 60.0
FLOORS_PATIENCE_S = 90.0
ATTEMPTS = 5
LOOK_S = 0.5


def wait_for_writes(parts: ReindexParts, hold: Hold, version_id: int) -> None:
    """Until new photos go to the version as well. Raises DependencyUnavailable where they do not."""
    deadline = time.monotonic() + FOLLOW_PATIENCE_S
    while version_id not in parts.models.written():
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"The Indexer writes no new photos to version {version_id}; its log says why. Its machine "
                "needs the new checkpoint, too."
            )
        hold.rest(LOOK_S)


def repair_collections(parts: ReindexParts, hold: Hold, version: IndexVersion) -> None:
    """Hold each collection of the version against PostgreSQL, and mend it. Raises what the audit raises."""
    with parts.database.transaction() as session:
        allow_long_statements(session)
        shops = index_truth.shops(session)
    total, done = sum(photos for _, _, photos in shops), 0

    def advance(photos: int) -> None:
        nonlocal done
        done += photos
        parts.watcher.progress(min(done, total), total)

    indexer = parts.args.indexer
    audit = AuditParts(
        *(parts.database, parts.vectors, parts.args.audit),
        lease_s=indexer.lease_s,
        retry_delay_s=indexer.retry_delay_s,
        keep=hold.keep,
        progress=advance,
    )
    for shop_id, email, _ in shops:
        if left := _repair(audit, hold, version, shop_id):
            parts.watcher.note(f"{email}: {left} findings of the audit are left; see scripts.verify")


def _repair(audit: AuditParts, hold: Hold, version: IndexVersion, shop_id: int) -> int:
    for attempt in range(ATTEMPTS):
        try:
            return audit_collection(replace(audit), version, shop_id, repair=True).left
        except Conflict:
            hold.keep()
            with audit.database.transaction() as session:
                if shop_id not in {shop for shop, _, _ in index_truth.shops(session)}:
                    return 0
            if attempt == ATTEMPTS - 1:
                raise
            hold.rest(2.0**attempt)
    return 0


def wait_for_floors(parts: ReindexParts, hold: Hold, model_key: str) -> None:
    """Until each shop has the score floor that goes with the model; the Indexer computes them.

    After 90 s in which none was computed they are left to come later: then a shop is without for a while.
    """
    with parts.database.transaction() as session:
        since = score_floors.now(session)
        total = waiting = score_floors.waiting(session, model_key, since)
    deadline = time.monotonic() + FLOORS_PATIENCE_S
    while waiting and time.monotonic() < deadline:
        parts.watcher.progress(total - waiting, total)
        hold.rest(LOOK_S)
        with parts.database.transaction() as session:
            left = score_floors.waiting(session, model_key, since)
        if left < waiting:
            deadline = time.monotonic() + FLOORS_PATIENCE_S
        waiting = left
    if waiting:
        parts.watcher.note(f"{waiting} shops get their score floor later")


def compare(parts: ReindexParts, hold: Hold, live: IndexVersion, new: IndexVersion) -> GateReport:
    """The gate's report. Raises what the index and the embedders raise."""

    def on_progress(done: int, total: int) -> None:
        hold.keep()
        parts.watcher.progress(done, total)

    def side(version: IndexVersion) -> Side:
        return Side(id_of(version), version.model_key, parts.models.texts(version))

    gate = GateParts(parts.database, parts.vectors, parts.args.reindex)
    return compare_versions(gate, side(live), side(new), on_progress)
