"""The Indexer's numbers: what waits and failed, what audits found, which model is live."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from db.work_levels import PHOTO_STATES, WorkLevels
from models.index_audit import Finding
from models.job import JobKind, JobStatus
from serve_app.context import ServingContext
from serve_app.deployments.metrics import Level

JOB_STATES = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED)
DESCRIPTIONS = {
    "fashion_photos": "Photos by what they wait for, and failed ones.",
    "fashion_photo_age_seconds": "Age of the oldest photo of each of these, since it was last changed.",
    "fashion_jobs": "Imports, deletions of shops and reindexes that wait, run or failed.",
    "fashion_mails": "Mails that wait or failed.",
    "fashion_webhooks_waiting": "Messages that wait to be posted to shops.",
    "fashion_audit_found_photos": "Photos that each collection's last audit found wrong, by finding.",
    "fashion_audit_repaired_photos": "Those of them that it repaired.",
    "fashion_audit_left_photos": "Photos that an audit found wrong and did not repair.",
    "fashion_live_model": "1 for the model and index version that answer.",
}


def of_work(levels: WorkLevels) -> Iterable[Level]:
    """All series, also those that are 0: what is missing cannot be told from what was never measured."""
    for state in PHOTO_STATES:
        yield Level("fashion_photos", {"state": state}, levels.photos.get(state, 0))
        yield Level("fashion_photo_age_seconds", {"state": state}, levels.photo_age_s.get(state, 0.0))
    for kind in JobKind:
        for status in JOB_STATES:
            yield Level("fashion_jobs", {"kind": kind, "status": status}, levels.jobs.get((kind, status), 0))
    for state in ("queued", "failed"):
        yield Level("fashion_mails", {"status": state}, levels.mails.get(state, 0))
    yield Level("fashion_webhooks_waiting", {}, levels.webhooks.get("queued", 0))
    for finding in Finding:
        for name, photos in (("found", levels.found), ("repaired", levels.repaired)):
            yield Level(f"fashion_audit_{name}_photos", {"finding": finding}, photos.get(finding, 0))
    yield Level("fashion_audit_left_photos", {}, levels.left.get("all", 0))


def of_model(live: Callable[[], ServingContext | None]) -> Callable[[], Iterable[Level]]:
    """``live``: None while no version is."""

    def read() -> Iterable[Level]:
        context = live()
        if context is not None:
            labels = {"model": context.model.label, "version": str(context.version_id)}
            yield Level("fashion_live_model", labels, 1)

    return read
