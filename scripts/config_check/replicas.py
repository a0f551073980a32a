"""Traps of replicas, queues and autoscaling."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from scripts.config_check.checked import SHUTDOWN_S, Check, Checked, Finding
from serve_app.indexing import BATCHES_IN_FLIGHT

ASKED = "Ingress", "TextEmbedder", "ImageEmbedder", "SearchIndex"
LEAST_SHUTDOWN_S, LONGEST_SHUTDOWN_S = 2.0, 300.0
SETTLED_S = 30.0


def batches(config: Checked) -> Iterator[Finding]:
    """Calls of prompts and queries may hold one each; those of photos hold up to ``embed_batch``."""
    photos = config.args.indexer.embed_batch
    for name, per_call in (("TextEmbedder", 1), ("SearchIndex", 1), ("ImageEmbedder", photos)):
        part = config.parts[name]
        if part.at_once * per_call < part.batch:
            held = f" calls of {per_call} photos" if per_call > 1 else ""
            yield Finding(
                "batch-never-full",
                part.at("max_ongoing_requests"),
                f"{part.at_once}{held} can never fill a batch of max_batch_size {part.batch}. Raise it to "
                f"{ceil(part.batch / per_call)} or more.",
            )


def queues(config: Checked) -> Iterator[Finding]:
    for name in ASKED:
        part = config.parts[name]
        if part.options.get("max_queued_requests") in (None, -1):
            yield Finding(
                "endless-queue",
                part.at("max_queued_requests"),
                "without a limit, requests queue for ever under overload, and are answered when nobody waits "
                "any more. Set one, such as 512.",
            )


def cold_starts(config: Checked) -> Iterator[Finding]:
    for part in config.parts.values():
        if part.least == 0:
            what = (
                "nothing calls it, so it would never start" if part.name == "Indexer" else "the first waits"
            )
            yield Finding(
                "cold-start",
                part.at("autoscaling_config", "min_replicas"),
                f"0 replicas while nobody asks: {what}, and /readyz is 503. A tower takes 10 s and more to "
                "load. Set 1.",
            )


def indexers(config: Checked) -> Iterator[Finding]:
    part = config.parts["Indexer"]
    if part.most > 1:
        yield Finding(
            "several-indexers",
            part.at("autoscaling_config" if part.scaling else "num_replicas"),
            f"{part.most} Indexers each look for work and start as many tasks as one. Set num_replicas: 1; "
            "tasks grow with indexer.max_tasks and the ImageEmbedder's replicas.",
        )


def targets(config: Checked) -> Iterator[Finding]:
    for part in config.parts.values():
        if part.scaling and part.target > part.at_once:
            yield Finding(
                "target-beyond-replica",
                part.at("autoscaling_config", "target_ongoing_requests"),
                f"{part.target:g} is more than a replica takes at once (max_ongoing_requests "
                f"{part.at_once}): requests wait before another replica is wanted. Lower the target, or "
                "raise the limit.",
            )


def reach(config: Checked) -> Iterator[Finding]:
    """Autoscaling counts calls, and there are no more of them than their callers have under way."""
    ingress, calls = config.parts["Ingress"].most, config.args.calls
    for name, key in (("TextEmbedder", "text_calls"), ("SearchIndex", "search_calls")):
        part, each = config.parts[name], int(getattr(calls, key))
        wanted = ceil(each * ingress / part.target) if part.target else part.most
        if part.most > part.least and wanted < part.most:
            yield Finding(
                "never-grows",
                part.at("autoscaling_config", "target_ongoing_requests"),
                f"{part.target:g} calls a replica, and {ingress} Ingress replicas have at most "
                f"{each * ingress} under way (calls.{key}: {each}): never more than "
                f"{max(wanted, part.least)} of max_replicas {part.most} start. Lower the target, or raise "
                f"calls.{key}.",
            )


def backlog(config: Checked) -> Iterator[Finding]:
    part, tasks = config.parts["ImageEmbedder"], config.args.indexer.max_tasks
    most = tasks * BATCHES_IN_FLIGHT
    if part.most > part.least and part.target >= most:
        yield Finding(
            "backlog-never-grows",
            part.at("autoscaling_config", "target_ongoing_requests"),
            f"{part.target:g} calls a replica, and bulk work has at most {most} under way for each "
            f"(indexer.max_tasks: {tasks}): a backlog alone wants no further replica. Lower the target, "
            "raise indexer.max_tasks, or accept it.",
        )


def stopping(config: Checked) -> Iterator[Finding]:
    for part in config.parts.values():
        given = part.options.get("graceful_shutdown_timeout_s")
        seconds = SHUTDOWN_S if given is None else float(given)
        if seconds < LEAST_SHUTDOWN_S:
            why = "requests under way are cut off when a replica stops, at each redeploy and downscale"
        elif seconds > LONGEST_SHUTDOWN_S:
            why = "a redeploy, or a stop, may wait as long for one replica"
        else:
            continue
        yield Finding(
            "shutdown-time",
            part.at("graceful_shutdown_timeout_s"),
            f"{seconds:g} s: {why}. Set {LEAST_SHUTDOWN_S:g} to {LONGEST_SHUTDOWN_S:g}; 5 to 30 is usual.",
        )


def flapping(config: Checked) -> Iterator[Finding]:
    for part in config.parts.values():
        if part.scaling and part.most > part.least and part.scaling.downscale_delay_s < SETTLED_S:
            yield Finding(
                "flapping",
                part.at("autoscaling_config", "downscale_delay_s"),
                f"{part.scaling.downscale_delay_s:g} s: replicas that take 10 s and more to start are "
                f"stopped in every lull. Set {SETTLED_S:g} or more; 300 is usual.",
            )


CHECKS: tuple[Check, ...] = (
    batches,
    queues,
    cold_starts,
    indexers,
    targets,
    reach,
    backlog,
    stopping,
    flapping,
)
