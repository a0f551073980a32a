"""Traps of room: CPUs, GPUs and nodes, and what all of them ask of PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scripts.config_check.checked import ARGS, Check, Checked, Cluster, Finding, Part
from serve_app.config_mistakes import APPLICATION

KINDS = {"num_cpus": ("CPU", "--cpus"), "num_gpus": ("GPU", "--gpus")}
DEPLOYMENTS = (*APPLICATION, "deployments")
LANE_AND_TASK = 2  # background work that must find room: the lane of single uploads, and one task
POSTGRES_CONNECTIONS = 97  # of 100, its default, three are its administrator's
OF_INDEX, OF_INDEXER, OF_TASK = 2, 4, 2  # connections of one process
NEARLY = 1e-9


def default_share(config: Checked) -> Iterator[Finding]:
    for part in config.parts.values():
        if "num_cpus" not in (part.options.get("ray_actor_options") or {}):
            yield Finding(
                "whole-cpu",
                part.at("ray_actor_options"),
                "names no num_cpus, so each replica reserves a whole CPU (the default of the code is gone "
                "once ray_actor_options is set). Name one, such as 0.2.",
            )


def one_replica(config: Checked) -> Iterator[Finding]:
    for part in config.parts.values():
        for kind, (word, option) in KINDS.items():
            share, there = part.share(kind), _there(config.cluster, kind)
            if part.most and share > there + NEARLY:
                yield Finding(
                    "never-fits",
                    part.at("ray_actor_options", kind),
                    f"a replica wants {share:g} {word}s and a node has {there:g}, so it never starts. Lower "
                    f"it, or say what a node has: {option}.",
                )


def all_replicas(config: Checked) -> Iterator[Finding]:
    """Those that start must fit; those of the busiest hour should; and without one node, too."""
    for kind, (word, option) in KINDS.items():
        nodes, there = config.cluster.nodes, _there(config.cluster, kind)
        least, most = _wanted(config, kind, _least), _wanted(config, kind, _most)
        if least > nodes * there + NEARLY:
            yield Finding(
                "no-room",
                DEPLOYMENTS,
                f"what starts wants {least:.4g} {word}s ({_sum(config, kind)}), and there are "
                f"{nodes * there:g}: some never starts. Lower replicas or {kind}, or say what there is: "
                f"{option}, --nodes.",
            )
        elif most > nodes * there + NEARLY:
            yield Finding(
                "no-room-to-grow",
                DEPLOYMENTS,
                f"all replicas at their most want {most:.4g} {word}s, and there are {nodes * there:g}: the "
                "last ones wait until something stops, or a node is added. Lower max_replicas, or say what "
                f"there is: {option}, --nodes.",
            )
        if nodes > 1 and least > (nodes - 1) * there + NEARLY and least <= nodes * there + NEARLY:
            yield Finding(
                "no-room-after-loss",
                DEPLOYMENTS,
                f"without one of {nodes} nodes there are {(nodes - 1) * there:g} {word}s, and what starts "
                f"wants {least:.4g}: a lost node's replicas do not all come back. Lower {kind}, or add a "
                "node.",
            )


def spread(config: Checked) -> Iterator[Finding]:
    for part in config.parts.values():
        per_node = part.options.get("max_replicas_per_node")
        if per_node and part.least > per_node * config.cluster.nodes:
            yield Finding(
                "too-few-nodes",
                part.at("max_replicas_per_node"),
                f"{per_node} a node on {config.cluster.nodes} node(s) is less than the {part.least} replicas "
                "that start. Raise it, or say how many nodes there are: --nodes.",
            )


def single_points(config: Checked) -> Iterator[Finding]:
    for name in ("Ingress", "TextEmbedder", "ImageEmbedder", "SearchIndex"):
        part = config.parts[name]
        if config.cluster.nodes > 1 and part.least == 1:
            yield Finding(
                "single-replica",
                part.at("autoscaling_config", "min_replicas") if part.scaling else part.at("num_replicas"),
                f"one replica on {config.cluster.nodes} nodes: while its node is lost, nothing does its "
                "work. Set 2.",
            )


def connections(config: Checked) -> Iterator[Finding]:
    args, parts = config.args, config.parts
    tasks = args.indexer.max_tasks * parts["ImageEmbedder"].most + 1
    tasks += args.imports.max_jobs * (1 + args.imports.max_tasks)
    ingress = parts["Ingress"].most * args.database_connections
    wanted = ingress + parts["SearchIndex"].most * OF_INDEX + OF_INDEXER + tasks * OF_TASK
    if wanted > POSTGRES_CONNECTIONS:
        yield Finding(
            "database-connections",
            (*ARGS, "database_connections"),
            f"all replicas and tasks at their most hold {wanted} connections, {ingress} of them the Ingress, "
            f"and PostgreSQL takes {POSTGRES_CONNECTIONS} by default. Lower it or max_replicas, or raise "
            "PostgreSQL's max_connections.",
        )


def _there(cluster: Cluster, kind: str) -> float:
    return cluster.cpus if kind == "num_cpus" else cluster.gpus


def _least(part: Part) -> int:
    return part.least


def _most(part: Part) -> int:
    return part.most


def _wanted(config: Checked, kind: str, count: Callable[[Part], int]) -> float:
    tasks = LANE_AND_TASK * config.args.indexer.task_num_cpus if kind == "num_cpus" else 0.0
    return tasks + sum(count(part) * part.share(kind) for part in config.parts.values())


def _sum(config: Checked, kind: str) -> str:
    shares = [
        f"{part.least} {part.name} of {part.share(kind):g}"
        for part in config.parts.values()
        if part.share(kind) and part.least
    ]
    if kind == "num_cpus":
        shares.append(f"{LANE_AND_TASK} background workers of {config.args.indexer.task_num_cpus:g}")
    return ", ".join(shares)


CHECKS: tuple[Check, ...] = (default_share, one_replica, all_replicas, spread, single_points, connections)
