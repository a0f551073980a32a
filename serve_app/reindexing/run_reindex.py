"""The way of a new model from a checkpoint to the answers: begin, fill, check, compare, flip.

Each step may be repeated, so a driver that was killed is followed by one that goes the same way from the
start, and finds most of it done.
"""

from __future__ import annotations

import time
from collections import defaultdict

from db import index_truth, index_versions, reindexing, score_floors
from db.session import allow_long_statements
from models.errors import Conflict
from models.image import IndexState, IndexVersion
from serve_app.context import ServingContext
from serve_app.gate import GateReport
from serve_app.reindexing.checks import compare, repair_collections, wait_for_floors, wait_for_writes
from serve_app.reindexing.fill_passes import FillPasses
from serve_app.reindexing.hold import Hold
from serve_app.reindexing.parts import MAX_UNREADABLE_SHARE, Options, Outcome, ReindexParts
from serve_app.served_model import ServedModel
from serve_app.startup import id_of

FLIP_ATTEMPTS = 20
ANSWER_PATIENCE_S = 60.0
ANSWERS = 5
LOOK_S = 0.3
IDS_AT_ONCE = 20_000
MAX_SHOWN_SHOPS = 20


def reindex(parts: ReindexParts, hold: Hold, model: ServedModel, options: Options) -> Outcome:
    """Fill a version with the model, and let it answer unless the gate objects.

    Raises Conflict where another version is being built, and the AppError of whatever does not answer.
    """
    with parts.database.transaction() as session:
        live = index_versions.live(session)
        known = index_versions.of_model(session, model.key)
    if live is None:
        raise Conflict("There is no live index version yet: start the service once.")
    if live.model_key == model.key:
        _deploy(parts, hold, ServingContext(parts.args, model, id_of(live)))
        _wait_for_answers(parts, hold, model)
        return Outcome("live", id_of(live), model.key)
    if known is not None and known.state is IndexState.RETIRED:
        _forget_former(parts, hold, model.key)
    with parts.database.transaction() as session:
        version = index_versions.begin(session, model.key, model.dimension, model.source, model.revision)
    hold.note(version_id=version.id, model_key=model.key)
    context = ServingContext(parts.args, model, id_of(version))
    _deploy(parts, hold, context)
    wait_for_writes(parts, hold, context.version_id)
    with parts.models.partitions(context) as partitions:
        passes = FillPasses(parts, hold, partitions, model.key)
        return _Way(parts, hold, options, passes).to_the_end(live, version, model)


class _Way:
    def __init__(self, parts: ReindexParts, hold: Hold, options: Options, passes: FillPasses) -> None:
        self._parts, self._hold, self._options, self._passes = parts, hold, options, passes

    def to_the_end(self, live: IndexVersion, version: IndexVersion, model: ServedModel) -> Outcome:
        parts, hold = self._parts, self._hold
        _phase(parts, hold, "filling")
        self._passes.complete()
        _phase(parts, hold, "checking")
        repair_collections(parts, hold, version)
        self._passes.complete()
        _phase(parts, hold, "score floors")
        wait_for_floors(parts, hold, version.model_key)
        _phase(parts, hold, "comparing")
        report = compare(parts, hold, live, version)
        reasons = self._reasons(report)
        hold.note(gate=_summary(report))
        stopped = bool(reasons) and not (self._options.force or self._options.report_only)
        if stopped or not self._options.flip:
            hold.failure = " ".join(reasons) if stopped else None
            return self._outcome("stopped" if stopped else "ready", version, report, reasons)
        _phase(parts, hold, "flipping")
        self._flip(id_of(version), version.model_key)
        _wait_for_answers(parts, hold, model)
        _phase(parts, hold, "done")
        return self._outcome("live", version, report, reasons)

    def _reasons(self, report: GateReport) -> list[str]:
        unreadable, photos = len(self._passes.unreadable), self._passes.photos
        if unreadable <= MAX_UNREADABLE_SHARE * photos:
            return report.reasons
        several = f"{unreadable} of {photos} photos cannot be read, and would not be found any more"
        return [*report.reasons, f"{several}; is the media store whole?"]

    def _flip(self, version_id: int, model_key: str) -> None:
        for attempt in range(FLIP_ATTEMPTS):
            try:
                with self._parts.database.transaction() as session:
                    allow_long_statements(session)
                    for reason, image_ids in self._by_reason().items():
                        reindexing.fail_unreadable(session, model_key, image_ids, reason)
                    index_versions.flip(session, version_id)
                return
            except Conflict:
                self._hold.keep()
                with self._parts.database.transaction() as session:
                    building = index_versions.building(session)
                if building is None or building.id != version_id or attempt == FLIP_ATTEMPTS - 1:
                    raise
                self._passes.complete()

    def _by_reason(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for image_id, reason in self._passes.unreadable.items():
            found[reason].append(image_id)
        return found

    def _outcome(self, state: str, version: IndexVersion, report: GateReport, reasons: list[str]) -> Outcome:
        passes = self._passes
        place = id_of(version), version.model_key
        return Outcome(state, *place, passes.photos, passes.unreadable, report, reasons)


def _forget_former(parts: ReindexParts, hold: Hold, model_key: str) -> None:
    """A version that comes back: what was mixed with texts, and its floors, may be of former days.

    While it is retired still: nobody writes to it, and a driver that dies here is followed by one that does
    it all.
    """
    with parts.database.transaction() as session:
        last = reindexing.last_image_id(session)
    for after in range(0, last, IDS_AT_ONCE):
        hold.keep()
        with parts.database.transaction() as session:
            reindexing.forget_items(session, model_key, after, after + IDS_AT_ONCE)
    with parts.database.transaction() as session:
        allow_long_statements(session)
        shops = {shop_id for shop_id, _, photos in index_truth.shops(session) if photos}
        score_floors.note_change(session, model_key, shops)


def _deploy(parts: ReindexParts, hold: Hold, context: ServingContext) -> None:
    """Unless the main application itself serves the model."""
    _phase(parts, hold, "starting the model")
    if context.version_id != parts.models.main_version():
        parts.models.deploy(context)


def _wait_for_answers(parts: ReindexParts, hold: Hold, model: ServedModel) -> None:
    """Until several requests in a row are answered by the model: each Ingress follows for itself."""
    _phase(parts, hold, "answers")
    deadline, right = time.monotonic() + ANSWER_PATIENCE_S, 0
    while right < ANSWERS:
        answering = parts.models.answering()
        right = right + 1 if answering == model.label else 0
        parts.watcher.progress(right, ANSWERS)
        if time.monotonic() > deadline:
            parts.watcher.note(
                f"the version is live, but requests are answered by {answering or 'nobody whom we know'} "
                "still: see the log of the Ingress; its machine needs the new checkpoint, too"
            )
            return
        if right < ANSWERS:
            hold.rest(LOOK_S)


def _phase(parts: ReindexParts, hold: Hold, name: str) -> None:
    hold.keep()
    hold.note(phase=name)
    parts.watcher.phase(name)


def _summary(report: GateReport) -> dict[str, object]:
    """Of the shops only those that lose, the first of them."""
    whole = report.as_json()
    return whole | {"shops": [shop for shop in whole["shops"] if shop["regressions"]][:MAX_SHOWN_SHOPS]}
