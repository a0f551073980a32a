"""Versions beside the live one: given up, brought back, removed, looked at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from db import index_truth, index_versions, reindex_jobs, reindexing
from db.session import Database, allow_long_statements
from models.errors import Conflict, NotFound
from models.image import IndexState, IndexVersion
from serve_app.context import ServingContext
from serve_app.reindexing.hold import Hold
from serve_app.reindexing.parts import Models, ReindexParts
from serve_app.reindexing.run_reindex import IDS_AT_ONCE
from serve_app.startup import context_of, id_of

PRUNE_AFTER_S = 60.0


def former_context(parts: ReindexParts) -> ServingContext:
    """The newest version that answered before the live one. Raises NotFound, ConfigurationError."""
    with parts.database.transaction() as session:
        version = index_versions.newest_retired(session)
    if version is None:
        raise NotFound("There is no retired version to go back to.")
    return context_of(parts.args, version)


def give_up(database: Database, models: Models) -> int:
    """Stop building; what is filled stays until it is pruned. The version's id; raises NotFound."""
    with database.transaction() as session:
        version = index_versions.building(session)
        if version is None:
            raise NotFound("No version is being built.")
        index_versions.give_up(session, id_of(version))
    if models.main_version() != id_of(version):
        models.remove(id_of(version))
    return id_of(version)


def prune(parts: ReindexParts, hold: Hold) -> list[int]:
    """Remove every retired version with all that it has; their ids.

    Raises Conflict within a minute after a flip: requests may end on the former version.
    """
    with parts.database.transaction() as session:
        if not index_versions.rested(session, PRUNE_AFTER_S):
            raise Conflict(
                f"The live version answers since less than {PRUNE_AFTER_S:g} s: requests may end on the "
                "former one. Try again in a minute."
            )
        live = index_versions.live(session)
        retired = [one for one in index_versions.all_versions(session) if one.state is IndexState.RETIRED]
    if live is not None and parts.models.main_version() == live.id:
        parts.models.remove(live.id)  # left by a flip before the service was started anew
    for number, version in enumerate(retired):
        parts.watcher.phase(f"removing version {version.id}")
        _remove(parts, hold, version, lambda done, total: parts.watcher.progress(done, total))
        hold.note(pruned=[one.id for one in retired[: number + 1]])
    return [id_of(version) for version in retired]


def _remove(
    parts: ReindexParts, hold: Hold, version: IndexVersion, on_progress: Callable[[int, int], None]
) -> None:
    """The row goes last: a driver that dies is followed by one that finds it, and does the rest."""
    version_id = id_of(version)
    if parts.models.main_version() != version_id:
        parts.models.remove(version_id)
    else:
        parts.watcher.note(
            f"the service was started with the model of version {version_id}: configure the live one's "
            "(model.name) before its next start"
        )
    with parts.database.transaction() as session:
        shared = index_versions.shares_model(session, version)
        shops = sorted(index_truth.shop_ids(session))
        last = 0 if shared else reindexing.last_image_id(session)
    steps = len(shops) + last // IDS_AT_ONCE + 1
    for number, shop_id in enumerate(shops):
        hold.keep()
        parts.vectors.drop(version_id, shop_id)
        on_progress(number + 1, steps)
    for number, after in enumerate(range(0, last, IDS_AT_ONCE)):
        hold.keep()
        with parts.database.transaction() as session:
            allow_long_statements(session)
            reindexing.forget_vectors(session, version.model_key, after, after + IDS_AT_ONCE)
        on_progress(len(shops) + number + 1, steps)
    with parts.database.transaction() as session:
        index_versions.remove(session, version_id, with_model=not shared)
    on_progress(steps, steps)


def status(database: Database) -> dict[str, Any]:
    """Versions, oldest first, and the newest job, in JSON's shapes.

    ``photos``: how many of the ``embedded`` ones a version has a vector of.
    """
    with database.transaction() as session:
        allow_long_statements(session)
        job, held = reindex_jobs.newest(session), reindex_jobs.held_until(session)
        embedded = reindexing.count_embedded(session)
        versions = [
            {
                "version_id": one.id,
                "state": one.state,
                "model_key": one.model_key,
                "source": one.source,
                "photos": embedded - index_versions.missing(session, one.model_key),
                "embedded": embedded,
                "live_at": _text(one.live_at),
            }
            for one in index_versions.all_versions(session)
        ]
    if job is None:
        return {"versions": versions, "job": None}
    shown = {"id": job.id, "status": job.status, "at_work": held is not None, "error": job.error}
    moments = {"started_at": _text(job.started_at), "finished_at": _text(job.finished_at)}
    return {"versions": versions, "job": shown | moments | {"request": job.request, "counts": job.counts}}


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment is not None else None
