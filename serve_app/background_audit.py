"""The audit of the index while the service works: a collection at a time, the longest unaudited first."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

from db import index_audits
from db.index_audits import ClaimedAudit
from models.errors import AppError
from serve_app.audit_index import audit_claimed, foreign_collections, remove_foreign
from serve_app.compare_index import Report
from serve_app.ports import EventCounter
from serve_app.repair_index import AuditParts

logger = logging.getLogger("serve_app")


class BackgroundAudit:
    """Claims by leases on the table ``index_audit``: several at work never meet."""

    def __init__(self, parts: AuditParts, damaged: EventCounter, links: int) -> None:
        """``damaged`` counts collections in which something was wrong; ``links``: an entry's in the graph."""
        args = parts.args
        self._links = links
        self._parts = replace(parts, keep=lambda: time.sleep(args.pause_s))
        self._damaged = damaged
        self._collections_listed_at = time.monotonic()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                worked = await asyncio.to_thread(self.step)
            except AppError as error:
                logger.warning("the search index is audited later: %s", error.message)
                worked = False
            await asyncio.sleep(0.0 if worked else self._parts.args.poll_interval_s)

    def step(self) -> bool:
        """Audit what is due; whether anything was."""
        every_h = self._parts.args.every_h
        if time.monotonic() - self._collections_listed_at > every_h * 3600:
            self._collections_listed_at = time.monotonic()
            self._look_for_foreign()
        with self._parts.database.transaction() as session:
            claimed = index_audits.claim_due(session, every_h, self._parts.lease_s, self._soon())
        if claimed is None:
            return False
        # Another sample each time: in the end every photo is looked for.
        parts = replace(self._parts, seed=time.time_ns())
        report = audit_claimed(parts, claimed, repair=parts.args.repair)
        if report is not None and report.found:
            self._tell(claimed, report)
        return True

    def _soon(self) -> range:
        """Sizes of catalogues that are looked through whenever they rest after a change.

        Up to ``2 * max_neighbors`` entries all know each other in a graph: none is ever lost.
        """
        linked = 2 * self._links
        return range(linked, max(linked, self._parts.args.sample))

    def _tell(self, claimed: ClaimedAudit, report: Report) -> None:
        self._damaged.increment()
        logger.warning(
            "the index of shop %d (version %d, %d photos) was not what PostgreSQL has: %s; %s, left: %d",
            *(claimed.shop_id, claimed.version_id, report.photos),
            ", ".join(f"{kind} {number}" for kind, number in sorted(report.found.items())),
            "built anew" if report.rebuilt else f"repaired: {report.repaired.total()}",
            report.left,
        )

    def _look_for_foreign(self) -> None:
        foreign = foreign_collections(self._parts)
        if not foreign:
            return
        self._damaged.increment()
        names = ", ".join(f"v{version_id}-shop{shop_id}" for version_id, shop_id in foreign[:10])
        logger.warning("%d collections belong to nothing in the database: %s", len(foreign), names)
        if self._parts.args.repair:
            remove_foreign(self._parts, foreign)
